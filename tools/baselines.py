"""Set the pipeline's models beside scikit-learn's, fitted and scored on the same rows.

    python -m tools.baselines

LinearRegression and LogisticRegression, the latter on standardized features, are fitted to the rows
of data/raw/ with the split "train" and scored on those with "test".
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.files import require
from tools.compare import text


def score(path: str, model) -> float:
    """Return R^2 or accuracy, on the test rows, of a model fitted to the training rows."""
    require(path, maker="generate_data")
    rows = pd.read_parquet(path)
    *features, target, _ = rows
    train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    return model.fit(train[features], train[target]).score(test[features], test[target])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    require("metrics/evaluate.json", maker="evaluate")
    ours = json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8"))
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    r2 = score("data/raw/regression.parquet", LinearRegression())
    accuracy = score("data/raw/classification.parquet", logistic)
    r2_here = text(ours["regression"]["test"]["r2"])
    print(f"test R^2       {r2_here}  LinearRegression {r2:.6g}")
    print(
        f"test accuracy  {ours['classifier']['test']['accuracy']:.6g}  "
        f"LogisticRegression {accuracy:.6g}"
    )


if __name__ == "__main__":
    main()
