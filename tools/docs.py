"""Run the commands of the docs, and compare or update what they print.

    python -m tools.docs [--check] [PAGE ...]

Each page runs from top to bottom in a fresh clone of the project as it stands, with the pipeline
reproduced (README.md does that itself):

- a `console` block holds commands, `$ command`, each followed by its output;
- a `python` block is a program, which must print nothing;
- a `yaml` block is merged into params.yaml.

In an output, `…` stands for any text in a line and, alone in a line, for any number of lines. Lines
may come in any order, and commit hashes and times of day may differ. An output that does not match
is replaced, or with --check reported.
"""

import difflib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import require_file
from tools.cli import make_parser, run

PROJECT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/experiments.md",
    "docs/comparing.md",
    "docs/your-data.md",
    "docs/training.md",
)
MARK = "=-=-="  # printed after each command
TIMEOUT = 1200  # seconds for one page
# Under `make check-docs`, the `make` of a page would see that another make runs it, and say so.
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
}
VOLATILE = (r"\b[0-9a-f]{7}\b", r"\b\d\d:\d\d [AP]M\b")  # commit hashes, times of day
MERGE = """python - <<'END'
from pathlib import Path
from ruamel.yaml import YAML

def merge(old, new):
    for key, value in new.items():
        if isinstance(value, dict):
            merge(old[key], value)
        else:
            old[key] = value

path = Path("params.yaml")
params = YAML().load(path)
merge(params, YAML(typ="safe").load('''{content}'''))
YAML().dump(params, path)
END"""


@dataclass(frozen=True)
class Part:
    """Lines of a page: text as it is, or a command with the output that the page shows."""

    text: str
    script: str = ""
    output: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("docs", __doc__)
    parser.add_argument("--check", action="store_true", help="report instead of updating")
    parser.add_argument("pages", nargs="*", default=PAGES, metavar="PAGE")
    options = parser.parse_args(arguments)
    for page in options.pages:
        require_file(page)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        fresh, finished = make_clones(Path(folder))
        for page in options.pages:
            clone = Path(folder, page.replace("/", "-"), "project")
            shutil.copytree(fresh if page == "README.md" else finished, clone, symlinks=True)
            shown = list(parse(Path(page).read_text(encoding="utf-8")))
            printed = run_parts(shown, clone)
            differences = list(compare(page, shown, printed))
            print(f"{page}: {sum(bool(part.script) for part in shown)} commands", *differences)
            if differences and options.check:
                failed.append(page)
            elif differences:
                text = "".join(part.text + part.output for part in update(shown, printed))
                Path(page).write_text(text, encoding="utf-8")
            check_programs(page, shown, printed)
    if failed:
        raise UserError(f"{', '.join(failed)} must show what the commands print; run `make docs`.")


def check_programs(page: str, shown: Sequence[Part], printed: Sequence[str]) -> None:
    """Raise UserError for a program or settings that print anything, such as a traceback."""
    for part, output in zip(shown, printed, strict=True):
        if part.script and not part.text and output:
            raise UserError(f"{page}: a program must print nothing; it printed: {output.strip()}")


def make_clones(folder: Path) -> tuple[Path, Path]:
    """Return a fresh clone of the project as it stands, and one with the pipeline reproduced."""
    fresh, finished = folder / "fresh", folder / "finished"
    for name in shell("git ls-files -z -co --exclude-standard", PROJECT).split("\0"):
        if name and (PROJECT / name).is_file():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, fresh / name)
    shell(
        f"""set -e
        git init --quiet --initial-branch=main
        git config user.name docs
        git config user.email docs@example.org
        git add --all
        git commit --quiet --message 'As it stands'
        mkdir .venv
        cp '{PROJECT}/.venv/pyvenv.cfg' .venv
        ln -s '{PROJECT}/.venv/bin' '{PROJECT}/.venv/lib' .venv
        touch .venv/installed""",
        fresh,
    )
    shutil.copytree(fresh, finished, symlinks=True)
    shell("PATH=$PWD/.venv/bin:$PATH dvc repro", finished)
    return fresh, finished


def shell(script: str, folder: Path) -> str:
    """Run a script in `folder` and return what it prints; raise UserError if it fails."""
    try:
        ended = subprocess.run(
            ("bash", "-c", script),
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"The commands of a page took more than {TIMEOUT} seconds.") from None
    if ended.returncode:
        raise UserError(f"A script failed in a clone of the project: {ended.stdout.strip()}")
    return ended.stdout


def parse(page: str) -> Iterator[Part]:
    """Yield the parts of a page; their texts and outputs together are the page."""
    language, block = "", ""
    lines = page.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith("```"):
            if block:
                script = f"python - <<'END'\n{block}END"
                yield Part("", script if language == "python" else MERGE.format(content=block))
            language, block = "" if language else line[3:].strip(), ""
            yield Part(line)
        elif language == "console" and line.startswith("$ "):
            command = line
            while command.endswith("\\\n") and number < len(lines):
                command += lines[number]
                number += 1
            output = ""
            while number < len(lines) and not lines[number].startswith(("$ ", "```")):
                output += lines[number]
                number += 1
            yield Part(command, command[2:].strip(), output)
        else:
            if language in ("python", "yaml"):
                block += line
            yield Part(line)


def run_parts(parts: Sequence[Part], clone: Path) -> list[str]:
    """Run the commands in one shell and return the output of each part."""
    steps = [f"{part.script}\necho; echo '{MARK}'" for part in parts if part.script]
    printed = shell("\n".join(['export PATH="$PWD/.venv/bin:$PATH"', *steps]), clone)
    outputs = printed.split(f"\n{MARK}\n")
    if len(outputs) != len(steps) + 1:
        raise UserError(f"A command of a page ended its shell after: {outputs[-1].strip()}")
    iterator = iter(outputs)
    return [clean(next(iterator)) if part.script else "" for part in parts]


def clean(output: str) -> str:
    """Return an output without escape sequences, trailing spaces, and empty lines around it."""
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", output)
    lines = [line.rstrip() for line in output.split("\n")]
    text = "\n".join(lines).strip("\n")
    return f"{text}\n" if text else ""


def matches(shown: str, printed: str) -> bool:
    """Return whether an output is as shown."""
    for pattern in VOLATILE:
        shown, printed = (re.sub(pattern, "…", text) for text in (shown, printed))
    if sorted(shown.splitlines()) == sorted(printed.splitlines()):
        return True
    pattern = "".join(
        "(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def compare(page: str, shown: Sequence[Part], printed: Sequence[str]) -> Iterator[str]:
    """Yield the differences between what the page shows and what its commands printed."""
    for part, output in zip(shown, printed, strict=True):
        if part.script and not matches(part.output, output):
            lines = difflib.unified_diff(
                part.output.splitlines(), output.splitlines(), page, "printed", lineterm=""
            )
            yield "\n".join([f"\n$ {part.script}", *lines])


def update(shown: Sequence[Part], printed: Sequence[str]) -> Iterator[Part]:
    """Yield the parts with every output that does not match replaced by the printed one."""
    for part, output in zip(shown, printed, strict=True):
        is_right = not part.text or not part.script or matches(part.output, output)
        yield part if is_right else replace(part, output=output)


if __name__ == "__main__":
    run(main)
