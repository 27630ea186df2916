"""Run one stage of the pipeline: python -m stages STAGE

            generate_data
                  |
         convert_to_tensors
            /           \\
  train_regression  train_classifier
            \\           /
              evaluate
                  |
               report

`dvc repro` runs what has to run, in this order.
"""

import importlib
import sys
from collections.abc import Sequence

from stages.core.device import check_device
from stages.core.errors import UserError
from stages.core.params import did_you_mean, read_params
from stages.core.schema import STAGES, TrainClassifier, TrainRegression
from stages.core.startup import run_program, skip_dynamo, without_gc


def run(stage: str) -> None:
    """Run a stage. Its parameters are checked before the slow imports."""
    params = read_params(STAGES[stage])
    if isinstance(params, TrainRegression | TrainClassifier):
        check_device(params.device, params.dtype)
    with without_gc():
        module = importlib.import_module(f"stages.{stage}")
    with skip_dynamo():
        module.main(params)


def main(arguments: Sequence[str]) -> None:
    """Run the stage that the command line names."""
    if list(arguments) in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    names = ", ".join(STAGES)
    if len(arguments) != 1:
        given = " ".join(arguments) or "nothing"
        raise UserError(f"STAGE must be one of {{{names}}}; got {given}.")
    if arguments[0] not in STAGES:
        raise UserError(
            f"STAGE must be one of {{{names}}}; got '{arguments[0]}'."
            + did_you_mean(arguments[0], list(STAGES))
        )
    run(arguments[0])


if __name__ == "__main__":
    run_program(lambda: main(sys.argv[1:]))
