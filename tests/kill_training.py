"""Run a training stage in forked processes, as torchrun would, kill them, and run them again.

    python kill_training.py STAGE N_RANKS N_KILLS

Works in the current folder. Prints one line a finished training: how often it was killed before,
how often it went on from a checkpoint, and the md5 of what it wrote. Importing torch once, and not
for every process, is what this is for.
"""

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from stages import train_classifier, train_regression  # noqa: F401, once for all processes
from stages.__main__ import run
from stages.core.startup import run_program

STAGES = {
    "train_regression": ("data/models/regression.safetensors", "metrics/train_regression.csv"),
    "train_classifier": (
        "data/models/classifier.safetensors",
        "data/models/classifier_snapshots.safetensors",
        "metrics/train_classifier.csv",
    ),
}


def start(stage: str, n_ranks: int, log: Path) -> list[int]:
    """Fork the ranks of one training; return their process ids."""
    meeting, pids = Path(tempfile.mkdtemp(dir="."), "store").absolute(), []
    for rank in range(n_ranks):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = 1
        try:
            if n_ranks > 1:
                # They meet in a file, since a port may be taken by the time they use it.
                dist.init_process_group(
                    "gloo",
                    init_method=f"file://{meeting}",
                    rank=rank,
                    world_size=n_ranks,
                    timeout=timedelta(seconds=60),
                )
            run_program(lambda: run(stage))
            status = 0
        except (SystemExit, RuntimeError) as error:
            print(error, file=sys.stderr)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pids


def end(pids: list[int]) -> bool:
    """Wait for all ranks; return whether they ended well. Like torchrun, end all if one fails."""
    left, are_well = set(pids), True
    while left:
        pid, status = os.waitpid(-1, 0)
        left.discard(pid)
        if status and are_well:
            are_well = False
            for other in left:
                os.kill(other, signal.SIGTERM)
    return are_well


def train_once(stage: str, n_ranks: int, kills: int, seconds: float, chance: random.Random) -> str:
    """Kill a training so many times, within `seconds`, let it end, and return the line about it."""
    log, n_killed = Path("log"), 0
    log.write_text("")
    for _ in range(kills):
        pids = start(stage, n_ranks, log)
        time.sleep(chance.uniform(0, seconds))
        # One rank, whose loss the others notice, or all at once.
        for pid in [chance.choice(pids)] if chance.random() < 0.5 else pids:
            os.kill(pid, signal.SIGKILL)
        n_killed += not end(pids)
    assert end(start(stage, n_ranks, log)), log.read_text()
    n_resumed = log.read_text().count("a checkpoint was found")
    content = b"".join(Path(path).read_bytes() for path in STAGES[stage])
    assert not Path(".checkpoints").exists()
    return f"{n_killed} {n_resumed} {hashlib.md5(content).hexdigest()}"


if __name__ == "__main__":
    stage, n_ranks, n_kills = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(0)
    began = time.monotonic()
    print(train_once(stage, n_ranks, 0, 0, chance), flush=True)
    seconds = time.monotonic() - began
    n_killed = 0
    while n_killed < n_kills:
        line = train_once(stage, n_ranks, chance.randint(3, 6), seconds, chance)
        print(line, flush=True)
        n_killed += int(line.split()[0])
