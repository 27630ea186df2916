"""Tensors in safetensors files: loading one runs no code, and equal tensors give equal bytes."""

import json
from collections.abc import Mapping
from math import prod
from typing import BinaryIO, Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.core.files import atomic_write, corrupted, require_file
from stages.shared.metadata import METADATA_KEY, Metadata

Dtype = Literal["int64", "float64", "float32"]
Shape = tuple[Dtype, tuple[int, ...]]
DTYPES: tuple[Dtype, ...] = ("int64", "float64", "float32")  # in the order of safetensors
ALIGNMENT = 8  # bytes


def save_tensors(path: str, tensors: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write `tensors` to `path` with their metadata."""
    content = save(dict(tensors), metadata={METADATA_KEY: metadata.to_json()})
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


class TensorFile:
    """A file of tensors that are written rows by rows, in the bytes of safetensors.

    Written at their places, not through a memory map, in which a full disk would end the process
    without an error.
    """

    def __init__(self, file: BinaryIO, shapes: Mapping[str, Shape], metadata: Metadata) -> None:
        """Write the header; `shapes` gives the dtype and the shape of each tensor."""
        header: dict[str, object] = {"__metadata__": {METADATA_KEY: metadata.to_json()}}
        starts, start = dict[str, int](), 0
        # As safetensors orders them, the widest dtypes first, so that all are aligned.
        for name in sorted(shapes, key=lambda name: (DTYPES.index(shapes[name][0]), name)):
            dtype, shape = shapes[name]
            starts[name], start = start, start + np.dtype(dtype).itemsize * prod(shape)
            code = f"{dtype[0].upper()}{8 * np.dtype(dtype).itemsize}"
            offsets = [starts[name], start]
            header[name] = {"dtype": code, "shape": shape, "data_offsets": offsets}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        file.write(len(text).to_bytes(8, "little") + text)
        self.file = file
        self.dtypes = {name: dtype for name, (dtype, _) in shapes.items()}
        self.places = {name: 8 + len(text) + place for name, place in starts.items()}

    def append(self, name: str, rows: np.ndarray) -> None:
        """Write the next rows of a tensor."""
        content = np.ascontiguousarray(rows, dtype=self.dtypes[name]).data
        self.file.seek(self.places[name])
        self.file.write(content)
        self.places[name] += content.nbytes


def load_tensors(path: str) -> tuple[dict[str, Tensor], Metadata]:
    """Return the tensors of `path`, on the CPU, and their metadata.

    Raises UserError if the file is missing or corrupted.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = Metadata.model_validate_json((file.metadata() or {})[METADATA_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, KeyError, ValidationError):
        raise corrupted(path) from None
