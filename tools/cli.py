"""What the command lines of all tools share."""

import argparse
import re

from stages.core.errors import UserError
from stages.core.startup import run_program as run

__all__ = ["add_only", "make_parser", "run"]


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m tools.<name>`; `description` is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add the option --only, a regular expression of metrics; all match its default."""
    parser.add_argument(
        "--only",
        type=parse_pattern,
        default=re.compile(""),
        metavar="PATTERN",
        help="show the metrics whose names match a regular expression, such as valid.accuracy",
    )


def parse_pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"--only must be a regular expression; got '{text}': {error}.") from None
