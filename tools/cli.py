"""What the command lines of all tools share."""

import argparse
import sys
from collections.abc import Callable

from stages.core.errors import UserError


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m tools.<name>`; `description` is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m tools.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(main: Callable[[], None]) -> None:
    """Call `main`; a user's mistake ends the process with one sentence and exit status 1."""
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
