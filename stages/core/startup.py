"""What makes a stage start and end fast."""

import gc
import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


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
