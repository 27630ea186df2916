"""One training in several processes: the same results, and what happens when one is lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import (
    ARTICLE,
    PROJECT,
    SMALL,
    Change,
    call_stage,
    change_params,
    environment,
    run,
    set_key,
    write_params,
)
from stages.shared.ranks import is_lost

TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
SCRIPT = str(PROJECT / "tests/shared/rank_cases.py")
OUTPUTS = (
    "data/models/regression.safetensors",
    "data/models/classifier.safetensors",
    "data/models/classifier_snapshots.safetensors",
    "metrics/train_regression.csv",
    "metrics/train_regression.json",
    "metrics/train_classifier.csv",
    "metrics/train_classifier.json",
)
IN_BATCHES = {
    "train_regression.batch_size": 300,
    "train_regression.optimizer.lr": 1e-3,
    "train_classifier.batch_size": 300,
    "train_classifier.epochs": 4,
    "train_classifier.snapshots": [0, 1, 4],
}
CASES: dict[str, dict[str, Any]] = {
    "article": {},
    "chunks": {"train_regression.chunk_rows": 300, "train_classifier.chunk_rows": 300},
    "batches": IN_BATCHES,
    "batches_in_chunks": IN_BATCHES
    | {"train_regression.chunk_rows": 70, "train_classifier.chunk_rows": 70},
    "deep": {
        "train_classifier.hidden": [7, 5],
        "train_classifier.epochs": 10,
        "train_classifier.class_weight": "balanced",
        "train_classifier.chunk_rows": 300,
        "train_regression.bias": True,
        "train_regression.loss_reduction": "mean",
        "train_regression.optimizer.lr": 0.1,
    },
    # 3 rows of the regression and 4 of the classifier, in batches of 3 and 2
    "few_rows": SMALL
    | {
        "generate_data.regression.n_samples": 3,
        "generate_data.classification.n_samples_per_class": 2,
        "train_classifier.batch_size": 3,
    },
}
FLOAT32 = {"train_regression.dtype": "float32", "train_classifier.dtype": "float32"}


def torchrun(n_ranks: int, *arguments: str) -> tuple[str, ...]:
    return (TORCHRUN, "--standalone", f"--nproc-per-node={n_ranks}", *arguments)


def make_case(folder: Path, changes: Mapping[str, Any]) -> None:
    """Put params.yaml and the tensors into a folder."""
    content = yaml.safe_load(yaml.safe_dump(ARTICLE))
    for key, value in changes.items():
        set_key(content, key, value)
    folder.mkdir()
    os.chdir(folder)
    write_params(content)
    for stage in ("generate_data", "convert_to_tensors"):
        call_stage(stage)


def train(folder: Path, n_ranks: int) -> dict[str, dict[str, bytes]]:
    """Train all cases in a folder with so many ranks; return the bytes of their outputs."""
    cases = sorted(path.name for path in folder.iterdir() if path.is_dir())
    command = (sys.executable,) if n_ranks == 1 else torchrun(n_ranks)
    ended = run(*command, SCRIPT, *cases, cwd=folder, PYTHONPATH=str(PROJECT))
    assert ended.returncode == 0, ended.stderr
    results = {}
    for case in cases:
        results[case] = {path: (folder / case / path).read_bytes() for path in OUTPUTS}
        for path in OUTPUTS:
            (folder / case / path).unlink()
    return results


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, before = tmp_path_factory.mktemp("cases"), Path.cwd()
    for name, changes in CASES.items():
        make_case(folder / name, changes)
    make_case(folder / "float32", FLOAT32)
    make_case(folder / "float32_in_batches", IN_BATCHES | FLOAT32)
    os.chdir(before)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def alone(cases: Path) -> dict[str, dict[str, bytes]]:
    return train(cases, 1)


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_ranks_publish_what_one_process_publishes(
    cases: Path, alone: dict[str, dict[str, bytes]], n_ranks: int
) -> None:
    """Byte for byte in float64; within tolerances in float32."""
    results = train(cases, n_ranks)
    for name in CASES:
        for path in OUTPUTS:
            assert results[name][path] == alone[name][path], (name, path)
    for name in ("float32", "float32_in_batches"):
        for path in OUTPUTS[:2]:
            (cases / "a").write_bytes(alone[name][path])
            (cases / "b").write_bytes(results[name][path])
            ours, others = load_file(cases / "a"), load_file(cases / "b")
            for key, tensor in ours.items():
                torch.testing.assert_close(others[key], tensor, rtol=1e-3, atol=1e-4)


def test_training_in_chunks_publishes_what_one_chunk_publishes(
    alone: dict[str, dict[str, bytes]],
) -> None:
    assert alone["chunks"] == alone["article"]
    assert alone["batches_in_chunks"] == alone["batches"]
    assert alone["batches"] != alone["article"]


# What goes wrong


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit status and what it wrote, without torchrun's report."""
    _, errors = process.communicate(timeout=100)
    ours = [line for line in errors.splitlines() if re.match(r"(params\.yaml|train_|Rank)", line)]
    return process.returncode, "\n".join(ours)


def start(cwd: Path, n_ranks: int = 2, stage: str = "train_regression") -> subprocess.Popen[str]:
    return subprocess.Popen(
        torchrun(n_ranks, "-m", "stages", stage),
        cwd=cwd,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(finished: Change, tmp_path: Path) -> Path:
    """Work in a folder with a small finished pipeline, and a link to the stages."""
    folder = Path.cwd()
    if not Path("stages").exists():
        Path("stages").symlink_to(PROJECT / "stages")
    return folder


def test_mistake_is_reported_once_and_not_by_every_rank(folder: Path) -> None:
    change_params({"train_regression.epochs": "fast"})
    assert ended(start(folder)) == (
        1,
        "params.yaml: train_regression.epochs must be an integer >= 1; got 'fast'.",
    )


def test_divergence_is_reported_once_and_leaves_the_results(folder: Path) -> None:
    before = {path: Path(path).read_bytes() for path in OUTPUTS}
    change_params({"train_regression.optimizer.lr": 1e29, "train_regression.epochs": 50})
    status, message = ended(start(folder))
    assert status == 1
    assert message.count("the loss must stay finite") == 1
    assert {path: Path(path).read_bytes() for path in OUTPUTS} == before


def is_running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ranks_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the process ids of torchrun's ranks, once all train."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found = {}
        for pid in children:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            ranks = [item[5:] for item in variables if item.startswith(b"RANK=")]
            found |= {int(rank): int(pid) for rank in ranks}
        if len(found) == 2 and Path(".checkpoints").exists():  # rank 0 trains, and so does 1
            return found
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
@pytest.mark.parametrize("lost", [0, 1])
def test_lost_rank_ends_the_training_with_nothing_half_written(folder: Path, lost: int) -> None:
    before = {path: Path(path).read_bytes() for path in OUTPUTS}
    change_params({"train_regression.epochs": 10**7, "checkpoint_every": 0})
    process = start(folder)
    pids = ranks_of(process)
    os.kill(pids[lost], signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "Signal 9 (SIGKILL) received" in errors  # torchrun names the rank that ended
    # The other one says so, too, unless torchrun was faster and ended it.
    if "lost another rank" in errors:
        assert (
            f"Rank {1 - lost} lost another rank: it ended, or did not answer within 600 s (timeout "
            "in params.yaml). Run the stage again, or go on with launcher: python."
        ) in errors
    assert {path: Path(path).read_bytes() for path in OUTPUTS} == before
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_ranks_end_if_torchrun_is_killed(folder: Path) -> None:
    change_params({"train_regression.epochs": 10**7, "checkpoint_every": 0})
    process = start(folder)
    pids = ranks_of(process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and any(map(is_running, pids.values())):
        time.sleep(0.05)
    left = [pid for pid in pids.values() if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert not left


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_rank_that_does_not_answer_is_waited_for_no_longer_than_timeout(folder: Path) -> None:
    change_params({"train_regression.epochs": 10**7, "checkpoint_every": 0, "timeout": 2})
    process = start(folder)
    pids = ranks_of(process)
    os.kill(pids[1], signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pids[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pids[0]}").exists()
    os.kill(pids[1], signal.SIGKILL)  # torchrun would wait for it half a minute
    status, message = ended(process)
    assert status == 1
    assert "did not answer within 2 s" in message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1", True),
        ("Timed out waiting 2000ms for recv operation to complete", True),
        ("The size of tensor a (3) must match the size of tensor b (2)", False),
    ],
)
def test_only_errors_of_the_connection_are_those_of_a_lost_rank(
    message: str, expected: bool
) -> None:
    assert is_lost(RuntimeError(message)) is expected


# Trainings that are killed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize("stage", ["train_regression", "train_classifier"])
def test_training_killed_at_random_moments_publishes_what_an_uninterrupted_one_does(
    article: Change, tmp_path: Path, stage: str, n_ranks: int
) -> None:
    article(
        {
            "checkpoint_every": 0,
            "train_regression.batch_size": 250,
            "train_regression.epochs": 60 * n_ranks,
            "train_classifier.batch_size": 250,
            "train_classifier.epochs": 10 * n_ranks,
        }
    )
    for name in ("generate_data", "convert_to_tensors"):
        call_stage(name)
    script = PROJECT / "tests/kill_training.py"
    done = run(
        *(sys.executable, script, stage, str(n_ranks), "20"),
        cwd=Path.cwd(),
        PYTHONPATH=str(PROJECT),
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({md5 for _, _, md5 in lines}) == 1
    assert sum(int(killed) for killed, _, _ in lines) >= 20
    assert sum(int(resumed) for _, resumed, _ in lines) >= 3
    assert len(lines) > 3


# Several machines


def ip(*arguments: str) -> bool:
    """Run Debian's `ip`; return whether it could."""
    command = shutil.which("ip") or "/usr/sbin/ip"
    try:
        return (
            subprocess.run((command, *arguments), capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@pytest.fixture
def two_hosts() -> Iterator[list[tuple[str, ...]]]:
    """Return the commands that run another one on two hosts, which a cable connects."""
    names = [f"dvc-{os.getpid()}-{k}" for k in (1, 2)]
    wires = [f"w{os.getpid()}-{k}" for k in (1, 2)]
    try:
        if not all(ip("netns", "add", name) for name in names):
            pytest.skip("network namespaces need Debian's iproute2 and the right to make them")
        ip("link", "add", wires[0], "netns", names[0], "type", "veth", "peer", "name", wires[1],
           "netns", names[1])  # fmt: skip
        for k, (name, wire) in enumerate(zip(names, wires, strict=True)):
            assert ip("-n", name, "addr", "add", f"10.77.0.{k + 1}/24", "dev", wire)
            assert ip("-n", name, "link", "set", wire, "up")
            assert ip("-n", name, "link", "set", "lo", "up")
        yield [
            (shutil.which("ip") or "/usr/sbin/ip", "netns", "exec", name,
             "env", f"GLOO_SOCKET_IFNAME={wire}")
            for name, wire in zip(names, wires, strict=True)
        ]  # fmt: skip
    finally:
        for name in names:
            ip("netns", "del", name)


def test_two_machines_publish_what_one_does(
    two_hosts: list[tuple[str, ...]], folder: Path, tmp_path: Path
) -> None:
    expected = {path: Path(path).read_bytes() for path in OUTPUTS}
    processes = []
    for k, host in enumerate(two_hosts):
        node = tmp_path / f"node{k}"
        shutil.copytree(folder / "data/tensors", node / "data/tensors")
        shutil.copy(folder / "params.yaml", node)
        (node / "stages").symlink_to(PROJECT / "stages")
        command = (
            *host,
            TORCHRUN,
            *("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=test"),
            *("--rdzv-endpoint=10.77.0.1:29400", f"--rdzv-conf=is_host={int(k == 0)}"),
            *(f"--local-addr=10.77.0.{k + 1}", "-m", "stages", "train_classifier"),
        )
        processes.append(
            subprocess.Popen(
                command, cwd=node, env=environment(), stderr=subprocess.PIPE, text=True
            )
        )
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    for path in OUTPUTS:
        if "classifier" in path:
            assert (tmp_path / "node0" / path).read_bytes() == expected[path]
    assert not (tmp_path / "node1/data/models").exists()
    assert not (tmp_path / "node1/metrics").exists()
