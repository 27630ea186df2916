"""Seconds, peaks of memory and ratios, as the benchmark measures and shows them."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import UserError

INTERVAL = 0.005  # seconds between two looks at the memory of a process
MIB = 2**20
NOISE = 0.1  # seconds: a shorter time above the start is not worth an exponent

Times = list[float]
Timed = Callable[[], float]


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds and peaks of memory in MiB, None where there is no /proc."""

    seconds: float
    anonymous: float | None  # the process's own memory
    mapped: float | None  # pages of files, which the system can drop


def program_environment() -> dict[str, str]:
    """Return this process's environment with the project's Python first, and no stray threads."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}


def run(*command: str, cwd: Path) -> Usage:
    """Run a command to its end, without its output. Raises UserError if it fails."""
    peaks: dict[str, float] = {}
    with tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=program_environment(), stdout=printed, stderr=printed
        )
        watch = threading.Thread(target=watch_memory, args=(process.pid, peaks))
        watch.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        watch.join()
        if status:
            printed.seek(0)
            raise failure(command, printed.read().decode(errors="replace"))
    return Usage(seconds, peaks.get("RssAnon"), peaks.get("RssFile"))


def output(*command: str, cwd: Path) -> str:
    """Return what a command prints. Raises UserError if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=program_environment(), check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise failure(command, done.stderr)
    return done.stdout


def failure(command: Sequence[str], printed: str) -> UserError:
    """Return the error for a command that failed, with the last line that it printed."""
    last = printed.strip().rpartition("\n")[2]
    return UserError(f"`{' '.join(command)}` must succeed; it ended with: {last}")


def watch_memory(pid: int, peaks: dict[str, float]) -> None:
    """Keep in `peaks` the most that a process has had of each kind of memory, until it ends."""
    while memory := read_memory(pid):
        for name, size in memory.items():
            peaks[name] = max(size, peaks.get(name, 0))
        time.sleep(INTERVAL)


def read_memory(pid: int | str) -> dict[str, float]:
    """Return the resident memory of a process by kind, in MiB; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {
        line.partition(":")[0]: int(line.split()[1]) * 1024 / MIB
        for line in lines
        if line.startswith(("RssAnon", "RssFile"))
    }


def timed(function: Callable[[], object]) -> Timed:
    """Return a function that calls `function` and returns the seconds it took."""

    def call() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return call


def measure(
    rounds: int,
    ways: Mapping[str, Timed],
    rare: Sequence[str] = (),
    repeats: int = 1,
    warm_up: bool = True,
) -> dict[str, float]:
    """Return the median seconds of each way, all measured in turn, after a call of each to warm up.

    In turn, so that a busy machine slows all of them. A round calls each way `repeats` times, and
    those in `rare`, which take long, once.
    """
    seconds: dict[str, Times] = {name: [] for name in ways}
    for way in ways.values() if warm_up else ():
        way()
    for _ in range(rounds):
        for repeat in range(repeats):
            for name, way in ways.items():
                if repeat == 0 or name not in rare:
                    seconds[name].append(way())
    return {name: statistics.median(times) for name, times in seconds.items()}


def median(values: Sequence[float | None]) -> float | None:
    """Return the median, None if any value is missing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) == len(values) else None


def exponent(rows: Sequence[int], seconds: Sequence[float], start: float) -> float | None:
    """Return p, if the seconds above `start` grow like rows ** p from first to last size.

        p = log(t_last / t_first) / log(n_last / n_first)

    None if the first is within noise of `start`: then next to nothing grows.
    """
    first, last = (time - start for time in (seconds[0], seconds[-1]))
    if first < NOISE or last <= 0:
        return None
    return math.log(last / first) / math.log(rows[-1] / rows[0])


# How numbers are shown ---------------------------------------------------------------------------


def format_seconds(seconds: float) -> str:
    """Return seconds with three digits, as ms if they are few."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{three_digits(seconds)} s"


def three_digits(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{places}f}"


def format_rate(rate: float) -> str:
    """Return rows per second in millions, - if the time was within noise."""
    if rate <= 0:
        return "-"
    return f"{three_digits(rate / 1e6)} M"


def format_rows(rows: int) -> str:
    """Return a number of rows, with commas."""
    return f"{rows:,}"


def format_ratio(ratio: float, least: float | None = None, most: float | None = None) -> str:
    """Return a ratio beside its aim, in bold if it misses it; - if a time was within noise."""
    if ratio <= 0:
        return "-"
    shown = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"
    if least is None and most is None:
        return shown
    aim = f"at least {least:g}" if least is not None else f"at most {most:g}"
    missed = (least is not None and ratio < least) or (most is not None and ratio > most)
    return f"{f'**{shown}**' if missed else shown} (aim: {aim})"


def format_memory(value: float | None) -> str:
    """Return MiB without decimals, - if unknown."""
    return "-" if value is None else f"{max(value, 0):,.0f}"
