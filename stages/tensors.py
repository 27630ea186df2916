"""Tensors in safetensors files: loading one runs no code, and saving one always gives its bytes."""

import json
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.files import damaged, replacing, require

ENTRY = "model"  # the only key: with several, their order in the file changes from run to run


def save_tensors(path: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `tensors` to `path`, with `facts`, as JSON, for the file's one metadata entry."""
    content = save(tensors, metadata={ENTRY: json.dumps(facts, sort_keys=True)})
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def load_tensors(path: str, maker: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of `path`, on the CPU, and the facts that its metadata entry holds.

    Raises UserError, which names `maker`, the stage that makes the file, if the file is missing or
    damaged.
    """
    require(path, maker)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {})[ENTRY])
    except (SafetensorError, KeyError, ValueError):
        raise damaged(path, maker) from None
