"""Files between the stages: nothing half written, and a missing one says where it comes from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from stages.errors import UserError


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield a temporary file's path; that file replaces `path` once the block has ended well.

    However the block ends, `path` holds all of the old or all of the new, and no temporary file is
    left. Raises UserError where the disk is full or the folder may not be written to.
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


def require(path: str, maker: str) -> None:
    """Raise UserError if there is no file at `path`, which the stage `maker` makes."""
    if not os.path.isfile(path):
        raise UserError(f"{path} is missing; `dvc repro {maker}` makes it.")


def damaged(path: str, maker: str) -> UserError:
    """Return the error for a file at `path` that is not what the stage `maker` makes."""
    return UserError(f"{path} is damaged; `dvc repro {maker}` makes it anew.")
