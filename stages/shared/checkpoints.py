"""Checkpoints: what a training that is killed goes on from.

They lie in .checkpoints/, which Git ignores and DVC does not know. Loading one runs no code.
"""

import hashlib
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from stages.core.files import atomic_write
from stages.core.schema import TrainClassifierSection, TrainRegressionSection

FOLDER = ".checkpoints"
STAGES = Path(__file__).parents[1]


def settings_key(section: TrainRegressionSection | TrainClassifierSection, device: str) -> bytes:
    """Return a hash of all that decides the result but the tensors.

    Parameters, device, code and torch. The code is that of this moment: asked for later, it may
    have been edited since it was imported.
    """
    digest = hashlib.sha256(json.dumps(section.model_dump(), sort_keys=True).encode())
    digest.update(f"{device} {torch.__version__}".encode())
    for path in sorted(STAGES.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def problem_key(settings: bytes, tensors: str) -> str:
    """Return a hash of all that decides the result: what settings_key returns, and the tensors.

    A checkpoint of another problem is not gone on from.
    """
    digest = hashlib.sha256(settings)
    with open(tensors, "rb") as file:
        digest.update(hashlib.file_digest(file, "sha1").digest())
    return digest.hexdigest()


def checkpoint_path(stage: str) -> str:
    """Return the path of a stage's checkpoint."""
    return f"{FOLDER}/{stage}.pt"


def save_checkpoint(stage: str, content: dict[str, Any]) -> None:
    """Write a checkpoint in place of the one before.

    Raises UserError if the disk is full, of which torch, writing the file, would not tell.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(checkpoint_path(stage)) as temporary, open(temporary, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(content: bytes) -> dict[str, Any]:
    """Return a checkpoint from its file's bytes, or nothing if it is none, or not a whole one."""
    try:
        loaded = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def read_checkpoint(stage: str) -> bytes:
    """Return the bytes of a stage's checkpoint, none if it has none."""
    path = Path(checkpoint_path(stage))
    return path.read_bytes() if path.is_file() else b""


def delete_checkpoint(stage: str) -> None:
    """Delete a stage's checkpoint, if it has one, and what is left of half-written ones."""
    for path in Path(FOLDER).glob(f"*{stage}.pt*"):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # the other stage's checkpoint may be there
        os.rmdir(FOLDER)
