"""What makes a stage start fast and end well."""

import gc
import importlib
import io
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from stages.core.errors import UserError

PATIENCE = 5.0  # seconds that other ranks than the first wait before they report a mistake
READER_GONE = 141  # the exit status that a shell gives a process whose reader has ended


def run_program(main: Callable[[], None]) -> None:
    """Call `main` as a program: a user's mistake is one sentence and exit status 1.

    Neither Ctrl-C nor a reader that has enough, such as `| head`, shows a traceback, and a terminal
    without some letter shows its number.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            # Rank 0 makes the same mistake and reports it, whereupon torchrun ends this one.
            time.sleep(PATIENCE)
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        discard_output()
        sys.exit(READER_GONE)


def discard_output() -> None:
    """Keep Python from writing the rest to a standard output that takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def without_gc() -> Generator[None, None, None]:
    """Import inside the block without garbage collection, then or later, of what is imported.

    torch and Matplotlib create some hundred thousand objects that live to the end. The garbage
    collector would traverse them during the imports, again while the stage runs, and once more at
    exit: a third of the time that a training stage takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def skip_dynamo() -> Generator[None, None, None]:
    """Spare optimizers the import of torch's compiler, which takes a second and is not used.

    torch.optim imports torch._dynamo when the first optimizer is created, to mark its methods for
    the compiler. If nothing is compiled the marks mean nothing, and a stand-in can take them. Code
    that does compile gets the real module as soon as it asks for anything else.
    """
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    stand_in: Any = ModuleType(name)

    def disable(function: Any, *_: Any, **__: Any) -> Any:
        return function

    def load(attribute: str) -> object:
        if attribute.startswith("__") and attribute != "__path__":  # that of an import of a part
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.disable = disable
    stand_in.graph_break = lambda: None
    stand_in.__getattr__ = load
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
