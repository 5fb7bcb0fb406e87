"""A library that puts the clocks of processes wrong, for tests of hosts that disagree.

Only the time of day: faketime also takes hold of sleeps and locks, and these fail then.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static long skew(void) {
    static long seconds;
    static int known;
    if (known) return seconds;
    const char *who = getenv("SKEW_WHO");
    char words[4096] = "";
    FILE *file = fopen("/proc/self/cmdline", "r");
    size_t count = file ? fread(words, 1, sizeof words - 1, file) : 0;
    if (file) fclose(file);
    for (size_t n = 0; n < count; n++) if (!words[n]) words[n] = ' ';
    if (!who || strstr(words, who)) seconds = atol(getenv("SKEW_S"));
    known = 1;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (!code && clock == CLOCK_REALTIME) now->tv_sec += skew();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int code = clock_gettime(CLOCK_REALTIME, &exact);
    if (!code && now) now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
    return code;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


def make_clock(folder: Path) -> Path:
    """The library, which a process is told of by ``skew``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine: apt-get install gcc")
    (folder / "clock.c").write_text(CLOCK)
    command = [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "clock.so"


def skew(library: Path, hours: int, who: str = "") -> dict[str, str]:
    """Variables of a process whose clock is wrong, or of one among its children.

    Args:
        library: From ``make_clock``.
        hours: How far ahead its clock is.
        who: Words of the command line of those it holds for; all if empty.
    """
    return {"LD_PRELOAD": str(library), "SKEW_S": str(3600 * hours), "SKEW_WHO": who}
