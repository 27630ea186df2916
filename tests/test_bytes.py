"""The promise: every file has the bytes that dvc.lock records, whatever the machine."""

import hashlib
import platform
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ARTICLE, PROJECT, change_params, run, write_params
from stages.core.schema import STAGES

QEMU = shutil.which("qemu-x86_64")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

VARIANTS = {
    "one thread, no vector units": {
        **dict.fromkeys(THREADS, "1"),
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "1",
    },
    "two threads, AVX2": {
        **dict.fromkeys(THREADS, "2"),
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "TZ": "America/St_Johns",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "2",
    },
    "four threads, another BLAS kernel": {
        **dict.fromkeys(THREADS, "4"),
        "MKL_DYNAMIC": "FALSE",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
        "MPLBACKEND": "svg",
        "PYTHONHASHSEED": "3",
    },
}
if platform.machine() != "x86_64":  # these switches are for x86-64 alone
    for variables in VARIANTS.values():
        for name in ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"):
            variables.pop(name, None)

needs_qemu = pytest.mark.skipif(
    not QEMU or platform.machine() != "x86_64",
    reason="qemu-x86_64 is missing: apt-get install qemu-user, on an x86-64 machine",
)


LOCKED = yaml.safe_load((PROJECT / "dvc.lock").read_text())["stages"]


def committed():
    """Return the md5 of every output in dvc.lock, by path."""
    return {out["path"]: out["md5"] for stage in LOCKED.values() for out in stage["outs"]}


def external_tables():
    """Return the tables that convert_to_tensors read and no stage wrote."""
    deps = {dep["path"] for dep in LOCKED["convert_to_tensors"]["deps"]}
    return {path for path in deps if not path.startswith("stages/")} - committed().keys()


def rebuild(folder, *emulator, stages=STAGES, **variables):
    """Run `stages` in `folder` and return the md5 of every file that is there then."""
    for stage in stages:
        command = (*emulator, sys.executable, "-m", "stages", stage)
        ended = run(*command, cwd=folder, **variables)
        assert ended.returncode == 0, ended.stderr
    return {
        name: hashlib.md5(Path(folder, name).read_bytes()).hexdigest()
        for top in ("data", "metrics")
        for path in Path(folder, top).rglob("*.*")
        if (name := str(path.relative_to(folder))) not in external_tables()
    }


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the stages, params.yaml, and whatever tables are not generated."""
    folder = tmp_path / "other"
    shutil.copytree(PROJECT / "stages", folder / "stages")
    shutil.copy(PROJECT / "params.yaml", folder)
    for path in external_tables():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / path, folder / path)
    return folder


UNITS = """
import torch
from numpy._core._multiarray_umath import __cpu_features__ as features
print(torch.backends.cpu.get_cpu_capability(), features.get("X86_V3"), torch.get_num_threads())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switches are for x86-64 alone")
def test_switches_do_switch():
    printed = [run(sys.executable, "-c", UNITS, cwd=PROJECT, **v).stdout for v in VARIANTS.values()]
    assert printed[0] == "DEFAULT False 1\n"
    assert printed[1].startswith("AVX2 ")
    assert [text.split()[-1] for text in printed] == ["1", "2", "4"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_file_has_the_committed_bytes(folder, variant):
    assert rebuild(folder, **VARIANTS[variant]) == committed()


@needs_qemu
def test_every_file_has_the_committed_bytes_on_an_emulated_nehalem(folder):
    assert rebuild(folder, QEMU, "-cpu", "Nehalem") == committed()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switches are for x86-64 alone")
def test_float32_differs_between_machines_or_the_tests_above_prove_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder)
    write_params(ARTICLE)
    change_params({"train_classifier.dtype": "float32"})
    rebuild(folder, stages=["generate_data", "convert_to_tensors"])
    models = {
        rebuild(folder, stages=["train_classifier"], **variables)[
            "data/models/classifier.safetensors"
        ]
        for variables in VARIANTS.values()
    }
    assert len(models) > 1
