"""Files between the stages: never half written, and a clear error when one is missing."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress

from stages.core.errors import UserError


@contextmanager
def atomic_write(path: str) -> Generator[str, None, None]:
    """Yield the path of a temporary file that replaces `path` if the block succeeds.

    `path` always holds either the old or the new content, and the temporary file never remains.
    Raises UserError if the disk is full or the folder is not writable.
    """
    folder, name = os.path.split(os.path.join(".", path))
    temporary = os.path.join(folder, f".{name}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def require_file(path: str) -> None:
    """Raise UserError if `path` is not a file."""
    if not os.path.isfile(path):
        raise UserError(f"{path} is missing; run `dvc repro`.")


def corrupted(path: str) -> UserError:
    """Return the error for a file whose content is not what a stage wrote."""
    return UserError(f"{path} is corrupted; delete it and run `dvc repro`.")
