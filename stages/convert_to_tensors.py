"""Convert the tables to tensors, and show of each what the article shows.

params.yaml, data/raw/*.parquet -> data/tensors/regression.safetensors (x, y: float64 of shape (n,);
x has shape (n, n_features) if there are several), data/tensors/classification.safetensors (X:
float32 of shape (n, n_features); y: int64 of shape (n,), the numbers of the labels in their order),
each for train and test apart, and metrics/tensors.json. Names of features, target and labels, and
the standardization if there is one, go into the metadata entry.
"""

from stages.parameters import ConvertToTensors, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(ConvertToTensors)

with quick_imports():
    import numpy as np
    import pandas as pd
    import torch
    from pyarrow import ArrowInvalid
    from torch import Tensor

    from stages.files import damaged, require
    from stages.metrics import published, write_json
    from stages.standardization import Standardization
    from stages.tensors import save_tensors

RAW_REGRESSION = "data/raw/regression.parquet"
RAW_CLASSIFICATION = "data/raw/classification.parquet"
REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
SUMMARY = "metrics/tensors.json"
SPLITS = ("train", "test")


def read_table(path: str, target_is_number: bool) -> pd.DataFrame:
    """Return a Parquet file that generate_data makes: the features, the target, and the split."""
    require(path, maker="generate_data")
    try:
        table = pd.read_parquet(path)
    except ArrowInvalid:
        raise damaged(path, maker="generate_data") from None
    *_, target, split = table
    if split != "split" or (table[target].dtype == np.float64) != target_is_number:
        raise damaged(path, maker="generate_data")
    return table


def feature_tensors(table: pd.DataFrame, standardize: bool) -> tuple[dict[str, Tensor], dict]:
    """Return the features of each split, float64 (n, n_features), and the facts about them."""
    *features, target, _ = table
    values = {split: table.loc[table["split"] == split, features].to_numpy() for split in SPLITS}
    facts = {"features": features, "target": target}
    if standardize:
        standardization = Standardization.fitted(values["train"])
        values = {split: standardization.apply(X) for split, X in values.items()}
        facts |= standardization.facts()
    return {split: torch.tensor(X) for split, X in values.items()}, facts


def regression_tensors(
    table: pd.DataFrame, standardize: bool = False
) -> tuple[dict[str, Tensor], dict]:
    """Return x and y of each split, float64 (n,), and their facts; of several features x is 2-D."""
    X, facts = feature_tensors(table, standardize)
    tensors = {}
    for split in SPLITS:
        y = table.loc[table["split"] == split, facts["target"]]
        one = len(facts["features"]) == 1
        tensors[f"x_{split}"] = X[split][:, 0].contiguous() if one else X[split].contiguous()
        tensors[f"y_{split}"] = torch.tensor(y.to_numpy())
    return tensors, facts


def classification_tensors(
    table: pd.DataFrame, standardize: bool = False
) -> tuple[dict[str, Tensor], dict]:
    """Return X, float32 (n, n_features), and y, int64 (n,), of each split, and their facts.

    The labels are in ascending order; y holds their numbers, from 0.
    """
    X, facts = feature_tensors(table, standardize)
    labels, numbers = np.unique(table[facts["target"]], return_inverse=True)
    facts["labels"] = labels.tolist()
    tensors = {}
    for split in SPLITS:
        # pandas keeps columns together, safetensors rows
        tensors[f"X_{split}"] = X[split].float().contiguous()
        tensors[f"y_{split}"] = torch.tensor(numbers[table["split"] == split])
    return tensors, facts


def describe(name: str, tensor: Tensor) -> dict:
    """Return what the article shows of a tensor: class, dtype, shape and the first ten values.

    Of a matrix these are the first ten columns of the first ten rows.
    """
    return {
        "tensor": name,
        "class": f"{type(tensor).__module__}.{type(tensor).__qualname__}",
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "first_ten": tensor[(slice(10),) * tensor.dim()].tolist(),
    }


def main() -> None:
    """Run the stage."""
    standardize = read_parameters(ConvertToTensors).convert_to_tensors.standardize
    line = read_table(RAW_REGRESSION, target_is_number=True)
    clusters = read_table(RAW_CLASSIFICATION, target_is_number=False)
    files = {
        REGRESSION: regression_tensors(line, standardize.regression),
        CLASSIFICATION: classification_tensors(clusters, standardize.classification),
    }
    summary = {}
    for path, (tensors, facts) in files.items():
        save_tensors(path, tensors, facts)
        summary[path] = [describe(name, tensor) for name, tensor in tensors.items()]
    write_json(SUMMARY, summary)
    descriptions = [each for part in summary.values() for each in part]
    for description in descriptions:
        print("{tensor}: {class} {dtype} {shape} {first_ten}".format_map(published(description)))
    print(f"convert_to_tensors: {len(descriptions)} tensors from {len(files)} tables")


if __name__ == "__main__":
    main()
