"""Which arithmetic this process computes with, chosen before torch is loaded.

The fastest instructions of a processor, and how sums are split over threads, decide the last bits
of a result. ``LAMINA_NUMERICS=portable`` takes what every x86-64 server has instead: float32,
AVX2, one thread. Nothing here imports torch, which reads most of this once.
"""

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from core.refusal import Refusal

VARIABLE, FLOAT32 = "LAMINA_NUMERICS", "LAMINA_FLOAT32"
BACKEND, TORCH, OPENVINO, AUTO = "LAMINA_BACKEND", "torch", "openvino", "auto"
USUAL = "usual"  # what a request says that leaves it to the variable
NATIVE, PORTABLE = "native", "portable"
THREADS = 1  # a machine of one core cannot split a sum over two
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    # X86_V4 is what NumPy 2.4 calls the first three; names that it does not know do nothing
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL "
    "AVX512_ICL AVX512_SPR",
}
FIXED = {**AVX2, "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
# What oneDNN calls its instructions, the widest first, and the processor's flag for each
INSTRUCTIONS = {
    "AVX512_CORE_AMX": "amx_tile",
    "AVX512_CORE_FP16": "avx512_fp16",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE": "avx512bw",
    "AVX2": "avx2",
    "SSE41": "sse4_1",
}
# What MKL, which multiplies matrices of float32 and does Fourier transforms, calls its own
PRODUCTS = {"AVX512": "avx512bw", "AVX2": "avx2", "SSE4_2": "sse4_2", "COMPATIBLE": "sse2"}
NOT_TOLD = ("", "AUTO")
BFLOAT16 = ("AVX512_CORE_AMX", "AVX512_CORE_FP16", "AVX512_CORE_BF16")


def numerics(variables: Mapping[str, str] = os.environ) -> str:
    """``native`` or ``portable``.

    Raises:
        Refusal: The variable says something else.
    """
    said = variables.get(VARIABLE) or NATIVE
    if said not in (NATIVE, PORTABLE):
        raise Refusal(
            f"{VARIABLE}={said}: arithmetic is native, the fastest of this machine, or portable, "
            "the same bits on every x86-64 server; set one, or leave it empty."
        )
    return said


def backend(variables: Mapping[str, str] = os.environ) -> str:
    """Who computes networks on a CPU: ``torch``, ``openvino``, or ``auto`` for the faster.

    Raises:
        Refusal: The variable says something else.
    """
    said = variables.get(BACKEND) or TORCH
    if said not in (TORCH, OPENVINO, AUTO):
        raise Refusal(
            f"{BACKEND}={said}: networks are computed by torch, by openvino, or by the faster of "
            "the two, auto; set one, or leave it empty."
        )
    return said


def arithmetic(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that make arithmetic what is asked for; they come before torch is loaded."""
    return dict(FIXED) if numerics(variables) == PORTABLE else {}


def settle() -> None:
    """Make arithmetic what the environment asks for.

    Raises:
        Refusal: Portable arithmetic is asked for after torch was loaded without it.
    """
    wanted = arithmetic()
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        if "torch" in sys.modules:
            raise Refusal(
                f"{VARIABLE}={PORTABLE} where torch is loaded already: it reads its arithmetic "
                "once; import lamina before torch, or set the variable for the whole process."
            )
        os.environ.update(wanted)


def prefer_portable() -> None:
    """Compute portably where nobody said how; too late once something computes in this process."""
    if not os.environ.get(VARIABLE) and not {"torch", "numpy"} & sys.modules.keys():
        os.environ.update(portably())


def portably(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a process that computes portably; none where it is said how it computes."""
    return {} if variables.get(VARIABLE) else {VARIABLE: PORTABLE, **FIXED}


def allows_gpu(wish: str = "auto") -> bool:
    """Whether a GPU may compute: portable arithmetic is that of a CPU.

    Args:
        wish: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        Refusal: Portable arithmetic and a GPU are both asked for.
    """
    if numerics() != PORTABLE:
        return wish != "cpu"
    if wish.startswith("cuda"):
        raise Refusal(
            f"{wish} with {VARIABLE}={PORTABLE}: a GPU's bits are not those of every server; set "
            f"the device to cpu or auto, or {VARIABLE}={NATIVE}."
        )
    return False


def exact() -> bool:
    """Whether a CPU computes in float32 even where it multiplies bfloat16 faster.

    So it does with narrower instructions than it has: those emulate bfloat16, far from the result.
    """
    narrow = os.environ.get("ATEN_CPU_CAPABILITY", "").lower() in ("avx2", "default")
    narrow |= bool(instructions()) and instructions() not in BFLOAT16
    return narrow or numerics() == PORTABLE or bool(os.environ.get(FLOAT32))


def instructions(variables: Mapping[str, str] = os.environ) -> str:
    """The widest instructions that oneDNN may use here; empty where that is not known."""
    names = list(INSTRUCTIONS)
    here = [name for name, flag in INSTRUCTIONS.items() if flag in _flags()]
    most = variables.get("ONEDNN_MAX_CPU_ISA", "").upper()
    allowed = (
        here if most not in names else [n for n in here if names.index(n) >= names.index(most)]
    )
    return allowed[0] if allowed else ""


def products(variables: Mapping[str, str] = os.environ) -> str:
    """The instructions of MKL: what ``MKL_CBWR`` says, or the widest of an Intel processor.

    ``AUTO`` on processors of others, where MKL has rules of its own.
    """
    said = variables.get("MKL_CBWR", "").upper()
    if said not in NOT_TOLD or "GenuineIntel" not in _flags():
        return said or "AUTO"
    return next((name for name, flag in PRODUCTS.items() if flag in _flags()), "AUTO")


def remembered(
    compute: Mapping[str, object], model: Mapping[str, object] | None = None
) -> dict[str, str]:
    """The variables under which this machine computes as a record says, as far as it can.

    A machine is never told to use what it may not have: wider instructions than it has are left
    out, and so are threads, which are set where the work is done.

    Args:
        compute: Of the record.
        model: Likewise.
    """
    told = {BACKEND: str((model or {}).get("backend", TORCH))}
    if told[BACKEND] == (os.environ.get(BACKEND) or TORCH):
        told = {}
    return told | _arithmetic_of(compute)


def _arithmetic_of(compute: Mapping[str, object]) -> dict[str, str]:
    if compute.get("numerics") == PORTABLE:
        return {VARIABLE: PORTABLE}
    cpu = str(compute.get("cpu", ""))
    found = _products_of(str(compute.get("products", "")), cpu)
    then, names = str(compute.get("instructions", "")), list(INSTRUCTIONS)
    if cpu in ("AVX2", "DEFAULT"):
        found["ATEN_CPU_CAPABILITY"] = cpu.lower()
        then = then or {"AVX2": "AVX2", "DEFAULT": "SSE41"}[cpu]
    if then in names and instructions() and names.index(then) > names.index(instructions()):
        found["ONEDNN_MAX_CPU_ISA"] = then
    if compute.get("arithmetic") == "float32":
        found[FLOAT32] = "1"
    return found


def _products_of(then: str, cpu: str) -> dict[str, str]:
    """``MKL_CBWR=AVX2`` gives the bits of a processor that has no wider instructions."""
    has = [name for name, flag in PRODUCTS.items() if flag in _flags()]
    if then in NOT_TOLD and cpu == "AVX2" and "AVX512" in has:
        then = cpu
    possible = then.partition(",")[0] in has and then != products()
    return {"MKL_CBWR": then} if possible else {}


@cache
def _flags() -> frozenset[str]:
    """Who made the processor and what it says that it can; nothing where nobody tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    first = text.partition("\n\n")[0].splitlines()
    told = [line for line in first if line.startswith(("vendor_id", "flags"))]
    return frozenset(" ".join(told).split())
