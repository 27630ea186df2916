"""Convert the tables to tensors, and show of each what the article shows.

data/raw/*.parquet -> data/tensors/regression.safetensors (x, y: float64 of shape (n,)),
data/tensors/classification.safetensors (X: float32 of shape (n, 2); y: int64 of shape (n,)), each
for train and test apart, and metrics/tensors.json.
"""

from stages.startup import quick_imports

with quick_imports():
    import pandas as pd
    import torch
    from pyarrow import ArrowInvalid
    from torch import Tensor

    from stages.files import damaged, require
    from stages.metrics import published, write_json
    from stages.tensors import save_tensors

RAW_REGRESSION = "data/raw/regression.parquet"
RAW_CLASSIFICATION = "data/raw/classification.parquet"
REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
SUMMARY = "metrics/tensors.json"
SPLITS = ("train", "test")


def read_table(path: str, columns: list[str]) -> pd.DataFrame:
    """Return some columns of a Parquet file that generate_data makes, and the column split."""
    require(path, maker="generate_data")
    try:
        return pd.read_parquet(path, columns=[*columns, "split"])
    except ArrowInvalid:
        raise damaged(path, maker="generate_data") from None


def regression_tensors(table: pd.DataFrame) -> dict[str, Tensor]:
    """Return x and y of each split, float64 of shape (n,)."""
    tensors = {}
    for split in SPLITS:
        rows = table[table["split"] == split]
        tensors[f"x_{split}"] = torch.tensor(rows["x"].to_numpy())
        tensors[f"y_{split}"] = torch.tensor(rows["y"].to_numpy())
    return tensors


def classification_tensors(table: pd.DataFrame) -> dict[str, Tensor]:
    """Return X, float32 of shape (n, 2), and y, int64 of shape (n,), of each split."""
    tensors = {}
    for split in SPLITS:
        rows = table[table["split"] == split]
        X = torch.tensor(rows[["x1", "x2"]].to_numpy(), dtype=torch.float32)
        tensors[f"X_{split}"] = X.contiguous()  # pandas keeps columns together, safetensors rows
        tensors[f"y_{split}"] = torch.tensor(rows["label"].to_numpy())
    return tensors


def describe(name: str, tensor: Tensor) -> dict:
    """Return what the article shows of a tensor: class, dtype, shape and the first ten values."""
    return {
        "tensor": name,
        "class": f"{type(tensor).__module__}.{type(tensor).__qualname__}",
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "first_ten": tensor[:10].tolist(),
    }


def main() -> None:
    """Run the stage."""
    files = {
        REGRESSION: regression_tensors(read_table(RAW_REGRESSION, ["x", "y"])),
        CLASSIFICATION: classification_tensors(
            read_table(RAW_CLASSIFICATION, ["x1", "x2", "label"])
        ),
    }
    summary = {}
    for path, tensors in files.items():
        save_tensors(path, tensors)
        summary[path] = [describe(name, tensor) for name, tensor in tensors.items()]
    write_json(SUMMARY, summary)
    for description in [each for part in summary.values() for each in part]:
        print("{tensor}: {class} {dtype} {shape} {first_ten}".format_map(published(description)))
    print(f"convert_to_tensors: {sum(map(len, files.values()))} tensors from {len(files)} tables")


if __name__ == "__main__":
    main()
