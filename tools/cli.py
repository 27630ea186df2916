"""What the command lines of all tools share."""

import argparse

from stages.core.startup import run_program as run

__all__ = ["make_parser", "run"]


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m tools.<name>`; `description` is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
