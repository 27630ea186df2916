"""Files of tensors: every bit is kept, and nothing else is taken for one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save, save_file

from conftest import feature_columns
from stages.core.errors import UserError
from stages.shared.metadata import Metadata
from stages.shared.tensors import TensorFile, load_tensors, save_tensors

PATH = "out/a.safetensors"
METADATA = Metadata(task="regression", columns=feature_columns("x"), target="y")
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def error_of(path: str) -> str:
    with pytest.raises(UserError) as error:
        load_tensors(path)
    return str(error.value)


def test_tensors_and_metadata_come_back() -> None:
    tensors = {"x": torch.tensor([0.1], dtype=torch.float64), "n": torch.tensor(3)}
    save_tensors(PATH, tensors, METADATA)
    loaded, metadata = load_tensors(PATH)
    assert metadata == METADATA
    assert set(loaded) == {"x", "n"}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@given(st.lists(finite, max_size=20))
@settings(max_examples=20)
def test_every_bit_is_kept(values: list[float]) -> None:
    save_tensors(PATH, {"x": torch.tensor(values, dtype=torch.float64)}, METADATA)
    loaded = load_tensors(PATH)[0]["x"]
    np.testing.assert_array_equal(loaded.numpy(), np.array(values, dtype=np.float64))
    assert loaded.dtype == torch.float64


def test_same_content_in_another_order_gives_the_same_bytes() -> None:
    a, b = torch.tensor([1.0]), torch.tensor([2.0])
    save_tensors("1", {"a": a, "b": b}, METADATA)
    save_tensors("2", {"b": b, "a": a}, METADATA)
    assert Path("1").read_bytes() == Path("2").read_bytes()


def test_metadata_is_one_entry_of_json() -> None:
    save_tensors(PATH, {"x": torch.zeros(1)}, METADATA)
    with safe_open(PATH, framework="pt") as file:
        assert file.metadata() == {"metadata": METADATA.to_json()}


def test_missing_file_is_rejected() -> None:
    assert error_of(PATH) == f"{PATH} is missing; run `dvc repro`."


@pytest.mark.parametrize(
    "content", [b"", b"no tensors", b"\x80\x04model", b"\x08\0\0\0\0\0\0\0{} "]
)
def test_file_of_another_type_is_rejected(content: bytes) -> None:
    Path("a").write_bytes(content)
    assert error_of("a") == "a is corrupted; delete it and run `dvc repro`."


@pytest.mark.parametrize("size", [40, -4])
def test_truncated_file_is_rejected(size: int) -> None:
    save_tensors("a", {"x": torch.zeros(9)}, METADATA)
    Path("a").write_bytes(Path("a").read_bytes()[:size])
    assert error_of("a") == "a is corrupted; delete it and run `dvc repro`."


@pytest.mark.parametrize("entry", [None, {"other": "{}"}, {"metadata": "{}"}, {"metadata": "["}])
def test_file_without_the_metadata_is_rejected(entry: dict[str, str] | None) -> None:
    save_file({"x": torch.zeros(1)}, "a", metadata=entry)
    assert error_of("a") == "a is corrupted; delete it and run `dvc repro`."


@pytest.mark.parametrize("sizes", [(5, 3), (1, 0), (0, 8)])
@pytest.mark.parametrize("name", ["y", '\u00e4"\\\n'])
def test_tensors_written_rows_by_rows_have_the_bytes_of_safetensors(
    sizes: tuple[int, int], name: str
) -> None:
    metadata = METADATA.model_copy(update={"target": name})
    generator = np.random.default_rng(0)
    arrays = {
        f"{key}_{part}": generator.standard_normal((size, 3)[: 1 + (key != "y")]).astype(dtype)
        for part, size in zip(("train", "test"), sizes, strict=True)
        for key, dtype in (("y", "int64"), ("x", "float64"), ("X", "float32"))
    }
    with open("rows", "wb") as file:
        shapes = {key: (str(array.dtype), array.shape) for key, array in arrays.items()}
        tensors = TensorFile(file, shapes, metadata)
        for start in range(0, max(sizes), 2):
            for key, array in arrays.items():
                tensors.append(key, array[start : start + 2])
    torch_tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    assert Path("rows").read_bytes() == save(torch_tensors, {"metadata": metadata.to_json()})
