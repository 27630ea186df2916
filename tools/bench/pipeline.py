"""The whole pipeline at the project's size, beside its floor and beside one flat script."""

import sys
from pathlib import Path

from tools.bench.copies import copy_project, make_floor
from tools.bench.measuring import Timed, format_ratio, format_seconds, measure, run
from tools.text_tables import format_table

# What each stage needs from other packages.
PARAMS = "pydantic.main, ruamel.yaml"
TRAINING = f"{PARAMS}, numpy, safetensors.torch, torch, tqdm"
IMPORTS = {
    # pyarrow imports pandas when it converts arrays.
    "generate_data": f"{PARAMS}, pandas, pyarrow.compute, pyarrow.csv, pyarrow.parquet",
    "convert_to_tensors": f"{PARAMS}, pandas, pyarrow.compute, pyarrow.csv, pyarrow.parquet, "
    "safetensors.torch, torch",
    "train_regression": TRAINING,
    "train_classifier": TRAINING,
    "evaluate": f"{PARAMS}, matplotlib.backends.backend_agg, numpy, PIL.Image, "
    "safetensors.torch, torch",
    "report": f"{PARAMS}, jinja2, numpy, PIL.Image",
}
SCRIPT = Path(__file__).with_name("article.py")
HEAD = ("what", "here", "beside", "", "ratio")


def pipeline_section(root: Path, rounds: int) -> str:
    """Return the table."""
    project, floor, flat = (root / name for name in ("project", "floor", "flat"))
    copy_project(project)
    make_floor(floor, IMPORTS)
    flat.mkdir()

    def command(folder: Path, *words: str) -> Timed:
        return lambda: run(*words, cwd=folder).seconds

    cold = measure(
        rounds,
        {
            "here": command(project, "dvc", "repro", "-f"),
            "floor": command(floor, "dvc", "repro", "-f"),
            "script": command(flat, sys.executable, str(SCRIPT)),
            "animation": command(flat, sys.executable, str(SCRIPT), "--animation"),
        },
    )
    nothing = measure(
        rounds,
        {"here": command(project, "dvc", "repro"), "floor": command(floor, "dvc", "repro")},
    )
    all_stages = "`dvc repro -f`, all stages"
    unchanged = "`dvc repro`, nothing changed"
    rows = [
        row(all_stages, "its floor", cold["here"], cold["floor"], 1.25),
        row(unchanged, "its floor", nothing["here"], nothing["floor"], 1.2),
        row(all_stages, "one flat script", cold["here"], cold["script"]),
        row(all_stages, "that with the animation", cold["here"], cold["animation"]),
    ]
    return format_table(HEAD, rows, markdown=True)


def row(what: str, beside: str, here: float, other: float, aim: float | None = None) -> list[str]:
    """Return a row: the seconds of both sides and their ratio."""
    ratio = format_ratio(here / other, most=aim)
    return [what, format_seconds(here), beside, format_seconds(other), ratio]
