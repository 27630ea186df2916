"""The seconds that epochs of a training stage take, without its start and its end.

    python -m tools.bench.epochs STAGE EPOCHS

It runs in a folder with params.yaml and tensors, also under torchrun, and prints the seconds.
"""

import contextlib
import importlib
import io
import os
import sys
import time
from typing import Any

from stages.core.params import read_params
from stages.core.schema import STAGES
from stages.core.startup import skip_dynamo, without_gc


def epochs_alone(stage: str, epochs: int) -> float:
    """Return the seconds of `epochs` epochs: of a training of 1 + epochs less those of one of 1.

    That takes away what is done once, such as reading the tensors and writing the model. All that a
    stage does at every epoch is in it, such as measuring the validation rows.
    """
    module = importlib.import_module(f"stages.{stage}")
    params = read_params(STAGES[stage])

    def seconds(n_epochs: int) -> float:
        section = getattr(params, stage).model_copy(update={"epochs": n_epochs})
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            module.main(params.model_copy(update={stage: section}))
        return time.perf_counter() - start

    return seconds(1 + epochs) - seconds(1)


def shared_group(device: str, timeout: int) -> contextlib.AbstractContextManager[None]:
    """Take the place of process_group where the ranks are connected already."""
    del device, timeout
    return contextlib.nullcontext()


def main(stage: str, epochs: int) -> None:
    """Measure, in the state that a stage starts in, and print."""
    with without_gc():
        module: Any = importlib.import_module(f"stages.{stage}")
        from stages.shared.ranks import process_group
    params: Any = read_params(STAGES[stage])
    with skip_dynamo(), process_group("cpu", params.timeout):
        # Both trainings share it: a second one would meet what the first left in its store.
        module.process_group = shared_group
        seconds = epochs_alone(stage, epochs)
    if os.environ.get("RANK", "0") == "0":
        print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
