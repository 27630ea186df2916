"""Put everything on one page: metrics next to their references, figures, parameters and data.

params.yaml, two tables, data/tensors/*.safetensors, metrics/*.json, metrics/figures/* ->
metrics/report.html, one file that needs no other and no network, in light and dark, on a phone and
on paper
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from stages.core.files import corrupted, require_file
from stages.core.schema import Report
from stages.shared.metadata import (
    METADATA_KEY,
    ClassificationTruth,
    Metadata,
    RegressionTruth,
)
from stages.shared.metrics import flatten, read_json, write_text
from stages.shared.splits import SPLITS
from stages.shared.summary import METRICS, summarize

REPORT = "metrics/report.html"
# Name, caption, what it shows for those who cannot see it
FIGURES = {
    "regression": (
        (
            "regression_curves.png",
            "Loss and weight by epoch",
            "Two curves: loss and weight approach those of least squares epoch by epoch",
        ),
        ("regression_data.png", "The data", "The training points, target against feature"),
        (
            "regression_before.png",
            "Before training",
            "The training points and the predictions with the initial weight",
        ),
        (
            "regression_animation.gif",
            "During training",
            "Animation: the predictions move toward the training points epoch by epoch",
        ),
        (
            "regression_after.png",
            "After training",
            "The training points and the predictions with the trained weight",
        ),
    ),
    "classifier": (
        (
            "classifier_curves.png",
            "Loss and accuracy by epoch, in training mode",
            "Two curves: the loss and the accuracy on the training rows epoch by epoch",
        ),
        ("classification_data.png", "The data", "The training points, one color per class"),
        (
            "classifier_before.png",
            "Before training",
            "The training points, colored by the class that the untrained network predicts",
        ),
        (
            "classifier_epochs.png",
            "During training",
            "The training points, colored by predicted class, at several epochs side by side",
        ),
        (
            "classifier_after.png",
            "After training",
            "The training points, colored by predicted class, with the misclassified ones circled",
        ),
        (
            "classifier_confusion.png",
            "Confusion matrix",
            "The number of test rows by actual class (rows) and predicted class (columns)",
        ),
    ),
}
MAX_WIDTH = 700  # pixels, up to which two figures share a row
MAX_NAMES = 10


@dataclass(frozen=True)
class Figure:
    """A figure and its content, which the page carries."""

    caption: str
    alt: str
    format: str
    content: str  # base64
    width: int  # pixels
    height: int

    @property
    def is_wide(self) -> bool:
        """Whether the figure takes a whole row, and scrolls on a phone."""
        return self.width > MAX_WIDTH

    @property
    def is_animated(self) -> bool:
        """Whether the figure moves, and is left out on paper."""
        return self.format == "gif"


def main(params: Report) -> None:
    """Run the stage."""
    content = render(params)
    write_text(REPORT, content)
    size = len(content.encode()) / 1000
    print(f"report: {REPORT}, {size:.0f} kB; open it in any browser")


def render(params: Report) -> str:
    """Return the page: always the same bytes for the same results."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = breakable
    metrics = {key: value for path in METRICS for key, value in read_json(path).items()}
    tables = params.convert_to_tensors
    return environment.get_template("report.html.jinja").render(
        rows=summarize(metrics),
        figures={
            task: [read_figure(*figure) for figure in figures] for task, figures in FIGURES.items()
        },
        params=params,
        parameters=list(parameter_rows(params)),
        data={
            "Regression": list(data_rows(tables.regression.table, "regression")),
            "Classifier": list(data_rows(tables.classification.table, "classification")),
        },
    )


def breakable(text: str) -> Markup:
    """Return a text that breaks, where it must, after dots, slashes and underscores in words."""
    return Markup(re.sub(r"(?<=[^\W\d])([./_])(?=[^\W\d])", r"\1<wbr>", str(escape(text))))


def read_figure(name: str, caption: str, alt: str) -> Figure:
    """Return a figure of metrics/figures."""
    path = Path("metrics/figures", name)
    require_file(str(path))
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError:
        raise corrupted(str(path)) from None
    content = b64encode(path.read_bytes()).decode()
    return Figure(caption, alt, path.suffix[1:], content, width, height)


def parameter_rows(params: Report) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of all parameters that params.yaml gives."""
    for key, value in flatten(params.model_dump(exclude_unset=True)):
        yield key, format_value(value)


def format_value(value: object) -> str:
    """Return a value exactly as it would appear in JSON, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_rows(table: str, task: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of what identifies and describes the data of one task."""
    metadata, sizes = read_tensors(f"data/tensors/{task}.safetensors")
    yield "table", table
    yield "source", describe_source(metadata.truth)
    yield "target", metadata.target
    yield "features", join_names(metadata.features)
    if metadata.labels:
        yield "classes", join_names(metadata.labels)
    for split, n_rows in zip(("training", "test"), sizes, strict=True):
        yield f"{split} rows", f"{n_rows}"
    n_bytes, md5 = checksum(Path(table))
    yield "bytes", f"{n_bytes}"
    yield "md5", md5


def checksum(path: Path) -> tuple[int, str]:
    """Return the number of bytes and the MD5 of a file or folder, as in dvc.lock.

    That of a folder is the MD5 of the list of its files, in JSON, and ends in .dir.
    """
    if path.is_dir():
        files = [(file.name, *checksum(file)) for file in sorted(path.iterdir())]
        listed = json.dumps([{"md5": md5, "relpath": name} for name, _, md5 in files])
        md5 = hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()
        return sum(n_bytes for _, n_bytes, _ in files), f"{md5}.dir"
    require_file(str(path))
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        return file.tell(), md5.hexdigest()


def read_tensors(path: str) -> tuple[Metadata, list[int]]:
    """Return the metadata of a file of tensors and how many rows each split has, without torch."""
    require_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = Metadata.model_validate_json((file.metadata() or {})[METADATA_KEY])
            return metadata, [file.get_slice(f"y_{split}").get_shape()[0] for split in SPLITS]
    except (SafetensorError, KeyError, ValidationError):
        raise corrupted(path) from None


def describe_source(truth: RegressionTruth | ClassificationTruth | None) -> str:
    """Return the parameters of the simulation that the data was drawn with, if it was."""
    if truth is None:
        return "no known simulation"
    values = truth.model_dump()
    seed = values.pop("seed")
    rest = (f"{key} {format_value(value)}" for key, value in values.items())
    return ", ".join([f"simulated with seed {seed}", *rest])


def join_names(names: Sequence[object]) -> str:
    """Return names as one text, MAX_NAMES at most, and how many are left out."""
    shown = ", ".join(map(str, names[:MAX_NAMES]))
    n_left_out = len(names) - MAX_NAMES
    return f"{shown} … and {n_left_out} more" if n_left_out > 0 else shown
