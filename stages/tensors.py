"""Tensors in safetensors files: loading one runs no code, and saving one always gives its bytes."""

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.files import damaged, replacing, require

ENTRY = "model"  # the only key: with several, their order in the file changes from run to run


def save_tensors(path: str, tensors: dict[str, Tensor], entry: str | None = None) -> None:
    """Write `tensors` to `path`, with the text `entry` as the file's one metadata entry."""
    content = save(tensors, metadata=None if entry is None else {ENTRY: entry})
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def load_tensors(path: str, maker: str) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors of `path`, on the CPU, and its metadata entry.

    Raises UserError, which names `maker`, the stage that makes the file, if the file is missing or
    damaged.
    """
    require(path, maker)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, (file.metadata() or {}).get(ENTRY)
    except SafetensorError:
        raise damaged(path, maker) from None
