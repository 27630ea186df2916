"""Tensors in safetensors files: loading one runs no code, and equal tensors give equal bytes."""

from collections.abc import Mapping

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.core.files import atomic_write, corrupted, require_file
from stages.shared.metadata import METADATA_KEY, Metadata


def save_tensors(path: str, tensors: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write `tensors` to `path` with their metadata."""
    content = save(dict(tensors), metadata={METADATA_KEY: metadata.to_json()})
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


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
