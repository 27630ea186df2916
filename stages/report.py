"""Put everything on one page: metrics next to their references, figures, parameters and data.

params.yaml, two tables, data/tensors/*.safetensors, metrics/*.json, metrics/figures/*,
metrics/classes.csv, metrics/regression_weights.csv -> metrics/report.html, one file that needs no
other and no network, in light and dark, on a phone and on paper
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from stages.shared.metrics import flatten, read_json, read_rows, write_text
from stages.shared.splits import SPLITS
from stages.shared.summary import read_metrics, summarize

REPORT = "metrics/report.html"
# Name, caption, what it shows for those who cannot see it
FIGURES = {
    "regression": (
        (
            "regression_curves.png",
            "Loss and weight by epoch.",
            "Curves: loss and weight approach those of least squares epoch by epoch",
        ),
        ("regression_data.png", "The data.", "The training points, target against feature"),
        (
            "regression_before.png",
            "Before training.",
            "The training points and the predictions with the initial weight",
        ),
        (
            "regression_animation.gif",
            "During training.",
            "Animation: the predictions move toward the training points epoch by epoch",
        ),
        (
            "regression_after.png",
            "After training.",
            "The training points and the predictions with the trained weight",
        ),
        (
            "regression_residuals.png",
            "Residuals of the test rows: the true value minus the predicted one. A curve or a "
            "funnel in them is something that the model misses.",
            "The test points, true minus predicted value against predicted value",
        ),
    ),
    "classifier": (
        (
            "classifier_curves.png",
            "Loss and accuracy by epoch.",
            "Curves: loss and accuracy on the training and validation rows epoch by epoch",
        ),
        ("classification_data.png", "The data.", "The training points, one color per class"),
        (
            "classifier_before.png",
            "Before training.",
            "The training points, colored by the class that the untrained network predicts",
        ),
        (
            "classifier_epochs.png",
            "During training.",
            "The training points, colored by predicted class, at several epochs side by side",
        ),
        (
            "classifier_after.png",
            "After training.",
            "The training points, colored by predicted class, with the misclassified ones circled",
        ),
        (
            "classifier_confusion.png",
            "Confusion matrix of the test rows.",
            "The number of test rows by actual class (rows) and predicted class (columns)",
        ),
    ),
}
MAX_WIDTH = 700  # pixels, up to which two figures share a row
LARGE = 2**30  # bytes of a table, whose checksum takes some seconds
BLOCK = 2**20  # bytes read at a time
MAX_NAMES = 10
MAX_CLASSES = 50  # in a table
CLASSES = "metrics/classes.csv"
CONVERSION = "metrics/convert_to_tensors.json"
COUNTS, NOTES = "convert_to_tensors", "preparation"
# How the split was chosen, as metrics/convert_to_tensors.json has it.
SPLIT_BY = {
    "column": "by the column split of the table",
    "column, validation at random": "by the column split of the table; validation rows at random",
    "random": "at random; rows with equal features stay together, unless they are the rule",
    "last": "by order: the last rows to test, those before them to validate",
}
SUBJECTS = {
    "classes": "rows by class",
    "rare": "rare classes",
    "one_hot": "one-hot encoded",
    "ids": "possible ids",
}


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
    regression = read_metadata("regression")
    classification = read_metadata("classification")
    tables, conversion = params.convert_to_tensors, read_json(CONVERSION)
    return environment.get_template("report.html.jinja").render(
        summary=summarize(read_metrics()),
        classes=read_rows(CLASSES),
        max_classes=MAX_CLASSES,
        figures={
            "regression": list(read_figures("regression", regression)),
            "classifier": list(read_figures("classifier", classification)),
        },
        params=params,
        parameters=list(parameter_rows(params)),
        data={
            "Regression": list(data_rows(tables.regression.table, regression, conversion)),
            "Classifier": list(data_rows(tables.classification.table, classification, conversion)),
        },
    )


def breakable(text: str) -> Markup:
    """Return a text that breaks, where it must, after dots, slashes and underscores in words."""
    return Markup(re.sub(r"(?<=[^\W\d])([./_])(?=[^\W\d])", r"\1<wbr>", str(escape(text))))


def read_figures(task: str, metadata: Metadata) -> Iterator[Figure]:
    """Yield the figures of a task."""
    for name, caption, alt in FIGURES[task]:
        path = Path("metrics/figures", name)
        require_file(str(path))
        try:
            with Image.open(path) as image:
                width, height = image.size
        except OSError:
            raise corrupted(str(path)) from None
        caption = " ".join([caption, *remarks(name, len(metadata.features))])
        content = b64encode(path.read_bytes()).decode()
        yield Figure(caption, alt, path.suffix[1:], content, width, height)


def remarks(name: str, n_features: int) -> Iterator[str]:
    """Yield what a caption explains of a figure."""
    if name.endswith("_curves.png"):
        yield "An axis whose values span a factor of 100 is logarithmic."
    if name == "regression_curves.png" and n_features > 1:
        yield "The norm of the weights is the square root of the sum of their squares."
    if name == "classification_data.png" and n_features > 2:
        yield (
            "Principal components 1 and 2 are the two directions in which the standardized features"
            " vary most."
        )


def parameter_rows(params: Report) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of all parameters that params.yaml gives."""
    for key, value in flatten(params.model_dump(exclude_unset=True)):
        yield key, format_value(value)


def format_value(value: object) -> str:
    """Return a value exactly as it would appear in JSON, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_rows(
    table: str, metadata: Metadata, conversion: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of what identifies and describes the data of one task.

    `conversion` is what convert_to_tensors reports.
    """
    counts, notes = (dict(conversion[key][metadata.task]) for key in (COUNTS, NOTES))
    yield "table", table
    yield "source", describe_source(metadata.truth)
    yield "target", metadata.target
    yield "features", join_names(metadata.features)
    if metadata.labels:
        yield "classes", join_names(metadata.labels)
    for split, name in zip(SPLITS, ("training", "validation", "test"), strict=True):
        yield f"{name} rows", f"{counts[f'{split}_rows']}"
    yield "split", describe_split(counts["split_by"])
    for subject, note in notes.items():
        yield SUBJECTS.get(subject, subject.replace("_", " ")), note
    n_bytes, md5 = checksum(Path(table))
    yield "bytes", f"{n_bytes}"
    yield "md5", md5


def checksum(path: Path) -> tuple[int, str]:
    """Return the number of bytes and the MD5 of a file or folder, as in dvc.lock.

    A bar shows how far it is where that takes seconds.
    """
    if not path.is_dir():
        require_file(str(path))
    files = path.iterdir() if path.is_dir() else [path]
    n_bytes = sum(file.stat().st_size for file in files)
    if n_bytes < LARGE:
        return n_bytes, hash_path(path, lambda _: None)
    # Imported here since it takes a tenth of the time that this stage takes.
    from stages.shared.chunks import progress_bar

    with progress_bar("report", n_bytes, "B") as bar:
        return n_bytes, hash_path(path, bar.update)


def hash_path(path: Path, count: Callable[[int], object]) -> str:
    """Return the MD5 of a file or folder; count(n) is called after n more bytes.

    That of a folder is the MD5 of the list of its files, in JSON, and ends in .dir.
    """
    if path.is_dir():
        hashes = [(file.name, hash_path(file, count)) for file in sorted(path.iterdir())]
        listed = json.dumps([{"md5": md5, "relpath": name} for name, md5 in hashes])
        return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            md5.update(block)
            count(len(block))
    return md5.hexdigest()


def read_metadata(task: str) -> Metadata:
    """Return the metadata of a file of tensors, without torch."""
    path = f"data/tensors/{task}.safetensors"
    require_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = Metadata.model_validate_json((file.metadata() or {})[METADATA_KEY])
    except (SafetensorError, KeyError, ValidationError):
        raise corrupted(path) from None
    if metadata.loss_reduction or metadata.loss_on:  # of a model
        raise corrupted(path)
    return metadata


def describe_split(text: str) -> str:
    """Return how a table was split."""
    if text.startswith("group:"):
        return f"by groups: rows with the same {text.removeprefix('group:')} stay together"
    return SPLIT_BY.get(text, text)


def describe_source(truth: RegressionTruth | ClassificationTruth | None) -> str:
    """Return the parameters of the simulation that the data was drawn with, if it was."""
    if truth is None:
        return "custom table"
    values = truth.model_dump()
    seed = values.pop("seed")
    rest = (f"{key} {format_value(value)}" for key, value in values.items())
    return ", ".join([f"simulated with seed {seed}", *rest])


def join_names(names: Sequence[object]) -> str:
    """Return names as one text, MAX_NAMES at most, and how many are left out."""
    shown = ", ".join(map(str, names[:MAX_NAMES]))
    n_left_out = len(names) - MAX_NAMES
    return f"{shown} … and {n_left_out} more" if n_left_out > 0 else shown
