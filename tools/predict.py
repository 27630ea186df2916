"""Predict with a model file alone: of the regression or of the classifier, chunk by chunk.

    python -m tools.predict MODEL INPUT [-o OUTPUT]

MODEL is a file that train_regression or train_classifier made. INPUT and OUTPUT are CSV or Parquet,
by their names; without OUTPUT, CSV goes to standard output. A row of INPUT gives a row of OUTPUT:
`prediction`, and of a classifier `probability_<label>` for each class. Columns of INPUT that are no
features of the model are ignored.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Literal

from stages.startup import quick_imports

with quick_imports():
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
    import torch
    from pydantic import ValidationError
    from torch import Tensor

    from stages.errors import UserError
    from stages.files import replacing
    from stages.models import build_network, linear
    from stages.standardization import Standardization
    from stages.tables import column_names, numbers, read_chunks
    from stages.tensors import load_tensors
    from stages.values import Count, Number, Positive, Section

MAKERS = "train_regression or train_classifier"


class Facts(Section):
    """What the metadata entry of every model says."""

    features: tuple[str, ...]
    target: str
    mean: tuple[Number, ...] | None = None
    scale: tuple[Positive, ...] | None = None


class RegressionFacts(Facts):
    """What the metadata entry of a regression says."""

    kind: Literal["regression"]


class ClassifierFacts(Facts):
    """What the metadata entry of a classifier says."""

    kind: Literal["classifier"]
    labels: tuple[int, ...] | tuple[str, ...]
    n_features: Count
    hidden: Count
    n_classes: Count


class Model:
    """A model as its file holds it: `facts`, and `predict` from X, float64 (n, n_features)."""

    def __init__(self, state: dict[str, Tensor], facts: dict) -> None:
        """Check state and facts against each other; raise ValueError where they disagree."""
        record = ClassifierFacts if facts.get("kind") == "classifier" else RegressionFacts
        facts = {
            key: tuple(item) if isinstance(item, list) else item for key, item in facts.items()
        }
        self.facts = record.model_validate(facts)
        n_features = len(self.facts.features)
        plain = self.facts.model_dump(exclude_none=True)
        self.standardization = Standardization.of(plain)
        shapes = {self.standardization.mean.shape, self.standardization.scale.shape}
        if shapes != {(n_features,)} or len(set(self.facts.features)) < n_features:
            raise ValueError
        if (self.facts.mean is None) != (self.facts.scale is None):
            raise ValueError
        weights = [tensor for name, tensor in state.items() if name != "1.num_batches_tracked"]
        if not all(each.dtype == torch.float32 and each.isfinite().all() for each in weights):
            raise ValueError
        self.state = {name: tensor.double() for name, tensor in state.items()}
        if record is RegressionFacts:
            self.labels = None
            shapes = {"weight": (n_features,) if n_features > 1 else ()}
            shapes |= {"bias": ()} if "bias" in state else {}
            if {name: tuple(tensor.shape) for name, tensor in state.items()} != shapes:
                raise ValueError
            return
        self.labels = list(self.facts.labels)
        self.classes = pa.array(self.labels)  # which raises what `load` expects for odd ones
        if len(set(self.labels)) < len(self.labels) or (state["1.running_var"] < 0).any():
            raise ValueError
        sizes = (n_features, state["0.weight"].shape[0], len(self.labels))
        if sizes != (self.facts.n_features, self.facts.hidden, self.facts.n_classes):
            raise ValueError
        self.network = build_network(*sizes).double().eval()
        self.network.load_state_dict(state)

    @torch.no_grad()
    def predict(self, X: np.ndarray) -> dict[str, pa.Array]:
        """Return the columns of the output for X, float64 (n, n_features) as in the table."""
        x = torch.from_numpy(self.standardization.apply(X))
        if self.labels is None:
            weight = self.state["weight"]
            y_hat = linear(x if weight.dim() else x[:, 0], weight, self.state.get("bias"))
            return {"prediction": pa.array(y_hat.numpy())}
        probabilities = self.network(x.float().double())  # features are stored as float32
        classes = probabilities.argmax(dim=1).numpy()
        columns = {"prediction": self.classes.take(pa.array(classes))}
        for number, label in enumerate(self.labels):
            columns[f"probability_{label}"] = pa.array(
                probabilities[:, number].contiguous().numpy()
            )
        return columns


def load(path: str) -> Model:
    """Return the model in a file, of which nothing is executed.

    Raises UserError for a file that is missing, damaged or no model of this pipeline.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path} is missing; name a model file that {MAKERS} made.")
    try:
        return Model(*load_tensors(path, maker=MAKERS))
    except (
        UserError,
        ValidationError,
        ValueError,
        RuntimeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
    ):
        raise UserError(
            f"{path} must be a model that {MAKERS} made; it is not, or damaged."
        ) from None


def check_columns(model: Model, path: str) -> None:
    """Raise UserError if the table at `path` lacks a feature of the model."""
    features, names = model.facts.features, column_names(path)
    lacking = [name for name in features if name not in names]
    if lacking:
        raise UserError(
            f"{path} must have the columns {{{', '.join(features)}}}, from which the model "
            f"predicts {model.facts.target}; it lacks {', '.join(lacking)}."
        )


def predictions(model: Model, path: str) -> Iterator[pa.RecordBatch]:
    """Yield the output for each chunk of the table at `path`.

    Raises UserError for a value that is no number.
    """
    features, first_row = model.facts.features, 1
    for batch in read_chunks(path, features):
        columns = [numbers(batch.column(name), path, name, first_row) for name in features]
        yield pa.RecordBatch.from_pydict(model.predict(np.stack(columns, axis=1)))
        first_row += len(batch)


def write(path: str | None, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    """Write `batches` to a file, whole or not at all, or to standard output; count the rows."""
    n_rows = 0
    with ExitStack() as stack:
        target = stack.enter_context(replacing(path)) if path else sys.stdout.buffer
        new_writer = pq.ParquetWriter if path and path.endswith(".parquet") else pacsv.CSVWriter
        writer = stack.enter_context(new_writer(target, schema))
        for batch in batches:
            writer.write_batch(batch)
            n_rows += len(batch)
    return n_rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(prog="python -m tools.predict", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("-o", "--output", metavar="OUTPUT")
    options = parser.parse_args(arguments)
    if options.output and not options.output.endswith((".csv", ".parquet")):
        raise UserError(f"OUTPUT must be a .csv or a .parquet file; got '{options.output}'.")
    paths = list(filter(None, (options.input, options.output)))
    if len(paths) == 2 and all(map(os.path.exists, paths)) and os.path.samefile(*paths):
        raise UserError(f"OUTPUT must be another file than INPUT; both are {options.input}.")
    torch.set_num_threads(1)
    model = load(options.model)
    check_columns(model, options.input)
    empty = model.predict(np.empty((0, len(model.facts.features))))
    schema = pa.RecordBatch.from_pydict(empty).schema
    try:
        n_rows = write(options.output, schema, predictions(model, options.input))
    except BrokenPipeError:  # as of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"Standard output cannot be written: {error.strerror or error}.") from None
    if options.output:
        print(f"{options.output}: {n_rows} predictions of {model.facts.target}")


if __name__ == "__main__":
    main()
