/* Preloaded, makes CPUID deny instructions, as a processor does that has none wider than FEWER.

   Linux on processors with CPUID faulting (arch_prctl ARCH_SET_CPUID). */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

static int fewer; /* 1 AVX512_CORE_BF16, 2 AVX512_CORE, 3 AVX2 */

static void deny(unsigned leaf, unsigned part, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    if (leaf == 7 && part == 0) {
        *d &= ~(BIT(22) | BIT(23) | BIT(24) | BIT(25)); /* AMX, FP16 */
        if (fewer > 1) { /* IFMA; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT */
            *b &= ~BIT(21);
            *c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
            *d &= ~(BIT(2) | BIT(3) | BIT(8));
        }
        if (fewer > 2) /* F, DQ, PF, ER, CD, BW, VL */
            *b &= ~(BIT(16) | BIT(17) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
    } else if (leaf == 7 && part == 1) {
        *a &= ~BIT(21); /* AMX-FP16 */
        *d &= ~BIT(19); /* AVX10 */
        if (fewer > 1)
            *a &= ~(BIT(4) | BIT(5)); /* AVX-VNNI, BF16 */
    } else if (leaf == 0x1d || leaf == 0x1e || leaf == 0x24) { /* AMX, AVX10 */
        *a = *b = *c = *d = 0;
    }
}

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *at = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)at[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) { /* not CPUID: a fault of the program */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    unsigned a, b, c, d, leaf = (unsigned)at[REG_RAX], part = (unsigned)at[REG_RCX];
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, part, a, b, c, d);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    deny(leaf, part, &a, &b, &c, &d);
    at[REG_RAX] = a, at[REG_RBX] = b, at[REG_RCX] = c, at[REG_RDX] = d;
    at[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    const char *widest = getenv("FEWER");
    if (!widest)
        return;
    fewer = !strcmp(widest, "AVX2") ? 3 : !strcmp(widest, "AVX512_CORE") ? 2 : 1;
    struct sigaction acted = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &acted, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0)
        _exit(77);
}
