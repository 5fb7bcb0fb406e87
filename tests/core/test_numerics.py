"""The same bits on every machine, if asked; and what a record says of the machine of then."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from core import numerics, records
from core.numerics import (
    allows_gpu,
    arithmetic,
    instructions,
    portably,
    prefer_portable,
    products,
    remembered,
    settle,
)
from core.records import compute
from core.tensors import inference_dtype
from tests.core.processors import processors, run

# Of tests/core/portable_run.py, with the versions of constraints.txt
DIGEST = "414806b751d7858a1cea923d36ef5884ac1c0b15ed03adbdc79a114cee2e4299"
# Of its exponentials, logarithms and powers in float64, which are those of AVX2 and FMA
DOUBLES = "6b24aac14922b6b9c588249447a5b56487c7489c029b3cfc1dcb51e21e351e3a"
portable_run = partial(run, "tests.core.portable_run")
TOLD = {
    "others": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
               "MKL_CBWR": "AUTO", "OMP_NUM_THREADS": "4"},
    "no AVX2 for glibc": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2"},
}  # fmt: skip
PROCESSORS = processors()
EACH = {**PROCESSORS, **TOLD}
BETWEEN = tuple(PROCESSORS)[1:-1]


@pytest.mark.parametrize(
    "processor",
    [pytest.param(n, marks=pytest.mark.slow) if n in BETWEEN else n for n in EACH],
)
def test_portable_arithmetic_gives_the_committed_bits_whatever_the_machine_would_do(processor):
    told = {"LAMINA_NUMERICS": "portable", **EACH[processor]}
    digest, threads, dtype, wide, doubles = portable_run(**told)
    assert (threads, dtype, wide) == ("1", "torch.float32", "none")
    assert digest == DIGEST
    if processor != "no AVX2 for glibc":  # less than portable arithmetic asks for
        assert doubles == DOUBLES


@pytest.mark.slow
@pytest.mark.skipif("AVX2" not in PROCESSORS, reason="this processor denies no instructions")
def test_what_a_record_says_gives_the_bits_of_a_processor_of_then():
    """Natively, as a machine computes that has no more than AVX2."""
    then = portable_run(LAMINA_NUMERICS="native", **PROCESSORS["AVX2"])
    told = remembered({"cpu": "AVX2", "instructions": "AVX2", "products": "AVX2"})
    assert portable_run(LAMINA_NUMERICS="native", **told)[0] == then[0]
    del told["MKL_CBWR"]
    assert portable_run(LAMINA_NUMERICS="native", **told)[0] != then[0]


def test_native_arithmetic_gives_others():
    assert portable_run(LAMINA_NUMERICS="native")[0] != DIGEST


def test_portable_arithmetic_is_that_of_a_cpu(monkeypatch):
    assert allows_gpu()
    assert allows_gpu("cuda:1")
    assert not allows_gpu("cpu")
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    assert not allows_gpu()
    assert not allows_gpu("cpu")
    with pytest.raises(ValueError, match="cuda:1 with LAMINA_NUMERICS=portable"):
        allows_gpu("cuda:1")


def test_a_record_of_a_gpu_does_not_say_portable(monkeypatch):
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    assert compute()["numerics"] == "portable"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(records, "_gpu_in_use", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: "a GPU")
    assert compute()["numerics"] == "native"


def test_a_record_says_what_decides_the_last_bits():
    found = compute()
    assert {"threads", "cpu", "instructions", "products", "arithmetic", "numerics"} <= found.keys()
    assert found["numerics"] == "native"
    assert found["arithmetic"] in ("bfloat16", "float32")
    assert instructions({"ONEDNN_MAX_CPU_ISA": "AVX2"}) in ("AVX2", "SSE41", "")


def test_what_a_record_says_is_asked_of_a_machine_that_can_do_more(monkeypatch):
    flags = frozenset({"avx512_bf16", "avx512_vnni", "avx512bw", "avx2", "sse4_1"})
    monkeypatch.setattr(numerics, "_flags", lambda: flags)
    assert instructions({}) == "AVX512_CORE_BF16"
    then = {"cpu": "AVX512", "instructions": "AVX512_CORE_BF16", "arithmetic": "bfloat16"}
    assert remembered(then) == {}
    assert remembered({**then, "instructions": "AVX512_CORE_AMX"}) == {}  # wider than is here
    old = {"threads": 2, "cpu": "AVX2"}  # of before instructions were recorded
    asked = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
    assert remembered(old) == asked
    assert remembered({**old, "arithmetic": "float32"}) == asked | {"LAMINA_FLOAT32": "1"}
    assert remembered({"numerics": "portable"}) == {"LAMINA_NUMERICS": "portable"}


def test_products_of_matrices_are_limited_as_a_record_says(monkeypatch):
    flags = frozenset({"GenuineIntel", "avx512bw", "avx2", "sse4_1", "sse4_2", "sse2"})
    monkeypatch.setattr(numerics, "_flags", lambda: flags)
    assert products({}) == products({"MKL_CBWR": "auto"}) == "AVX512"
    assert products({"MKL_CBWR": "AVX2,STRICT"}) == "AVX2,STRICT"
    assert remembered({"products": "AVX512"}) == remembered({"products": "AUTO"}) == {}
    for then in ("AVX2", "AVX2,STRICT", "SSE4_2", "COMPATIBLE"):
        assert remembered({"products": then}) == {"MKL_CBWR": then}
    monkeypatch.setattr(numerics, "_flags", lambda: flags - {"avx512bw"})
    assert remembered({"products": "AVX512"}) == {}  # wider than is here
    monkeypatch.setattr(numerics, "_flags", lambda: flags - {"GenuineIntel"})
    assert products({}) == "AUTO"  # MKL has rules of its own for processors of others
    monkeypatch.setattr(numerics, "_flags", lambda: flags - {"GenuineIntel", "avx512bw"})
    assert "MKL_CBWR" not in remembered({"cpu": "AVX2"})  # not told then, and not to be told now


@pytest.mark.parametrize(
    "narrow", [{"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}]
)
def test_narrower_instructions_than_there_are_compute_in_float32(monkeypatch, narrow):
    for name, value in narrow.items():
        monkeypatch.setenv(name, value)
    assert str(inference_dtype("cpu")) == "torch.float32"


def test_other_words_and_a_wish_that_comes_too_late_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="arithmetic is native"):
        arithmetic({"LAMINA_NUMERICS": "fast"})
    assert arithmetic({"LAMINA_NUMERICS": ""}) == {}
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx512")
    with pytest.raises(ValueError, match="torch is loaded already"):
        settle()


def test_what_is_portable_by_default_is_so_only_where_nobody_said_otherwise(monkeypatch):
    assert portably({})["LAMINA_NUMERICS"] == "portable"
    assert portably({"LAMINA_NUMERICS": ""}).items() >= numerics.FIXED.items()
    assert portably({"LAMINA_NUMERICS": "native"}) == {}
    monkeypatch.setenv("LAMINA_NUMERICS", "")
    prefer_portable()  # torch is loaded here and computes as it does
    assert os.environ["LAMINA_NUMERICS"] == ""
    said = "from core.numerics import *; import os; prefer_portable(); print(numerics())"
    for asked, found in (("", "portable"), ("native", "native"), ("portable", "portable")):
        told = {**os.environ, "LAMINA_NUMERICS": asked}
        ended = subprocess.run(
            [sys.executable, "-c", said], env=told, capture_output=True, text=True, check=True
        )
        assert ended.stdout.strip() == found
