"""This machine as one of narrower instructions: for tests of what every server must give.

Settings of torch, oneDNN and MKL are overwritten by portable arithmetic, so a process is denied
the instructions themselves: CPUID, which all libraries ask, does not tell of them any more.
"""

import atexit
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from core.numerics import FIXED, INSTRUCTIONS, instructions

SOURCE = Path(__file__).with_name("fewer_instructions.c")
DENIED = ("AVX512_CORE_BF16", "AVX512_CORE", "AVX2")
GLIBC = {"AVX2": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD"}
"""What CPUID says is read by the loader before anything can be preloaded."""


def processors() -> dict[str, dict[str, str]]:
    """The variables of a process, by the widest instructions that it then finds; this one first.

    Only this one where CPUID cannot be denied: without a C compiler, or on other processors.
    """
    widest, names = instructions(), list(INSTRUCTIONS)
    found: dict[str, dict[str, str]] = {widest: {}}
    narrower = [name for name in DENIED if widest and names.index(name) > names.index(widest)]
    for name in narrower if _denier() else ():
        found[name] = {"LD_PRELOAD": _denier(), "FEWER": name}
        found[name] |= {"GLIBC_TUNABLES": GLIBC[name]} if name in GLIBC else {}
    return found


def run(module: str, *words: str, **variables: str) -> list[str]:
    """What a module prints, word by word, in a process with these variables."""
    inherited = {k: v for k, v in os.environ.items() if k not in FIXED}
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=SOURCE.parents[2],
        env=inherited | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@cache
def _denier() -> str:
    """The library that denies; empty where it cannot be made or does nothing."""
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        return ""
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = Path(folder) / "fewer.so"
    words = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        return ""
    told = os.environ | {"LD_PRELOAD": str(library), "FEWER": "AVX2"}
    tried = subprocess.run([shutil.which("true") or "true"], env=told, check=False)
    return str(library) if tried.returncode == 0 else ""
