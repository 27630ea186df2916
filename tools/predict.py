"""Predict from a model file and a table, chunk by chunk.

    python -m tools.predict MODEL INPUT [-o OUTPUT] [--keep COLUMN,...]

MODEL is a file that train_regression or train_classifier wrote. INPUT is a table
as in params.yaml, and OUTPUT a .csv or a .parquet file; without it, CSV is written to standard
output. Each row of INPUT gives a row of
OUTPUT: the columns to keep, `prediction`, and of a classifier `probability_<label>` for each class.
Missing values are treated as in training: filled in, rejected, or left without a prediction.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence

from stages.core.errors import UserError
from stages.core.startup import discard_output, without_gc
from tools.cli import make_parser, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool. The arguments are checked before the slow imports."""
    parser = make_parser("predict", __doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("-o", "--output", metavar="OUTPUT")
    parser.add_argument("--keep", metavar="COLUMN,...", help="columns of INPUT to copy")
    options = parser.parse_args(arguments)
    keep = list(dict.fromkeys(options.keep.split(","))) if options.keep else []
    check_paths(options.model, options.input, options.output)
    with without_gc():
        from tools import prediction  # imports torch and pyarrow
    model = prediction.load(options.model)
    prediction.check_columns(model, options.input, keep)
    counts = Counter[str]()
    try:
        n_rows = prediction.write(options.output, model, options.input, keep, counts)
    except BrokenPipeError:  # as of `| head`, which has read enough
        discard_output()
        return
    except OSError as error:
        discard_output()
        raise UserError(f"Standard output cannot be written: {error.strerror or error}.") from None
    for text, number in counts.items():
        if number:
            rows = "1 row" if number == 1 else f"{number} rows"
            print(f"{options.input}: {rows}, {text}", file=sys.stderr)
    if options.output:
        predictions = "1 prediction" if n_rows == 1 else f"{n_rows} predictions"
        print(f"{options.output}: {predictions} of {model.metadata.target}")


def check_paths(model: str, table: str, output: str | None) -> None:
    """Raise UserError for a model that is missing and for an output that cannot be one."""
    if output and not output.endswith((".csv", ".parquet")):
        raise UserError(f"OUTPUT must be a .csv or a .parquet file; got '{output}'.")
    exist = output and os.path.exists(table) and os.path.exists(output)
    if exist and os.path.samefile(table, output):
        raise UserError(f"OUTPUT must be another file than INPUT; both are {table}.")
    if not os.path.isfile(model):
        raise UserError(
            f"{model} is missing; name a model that train_regression or train_classifier wrote."
        )


if __name__ == "__main__":
    run(main)
