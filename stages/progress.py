"""A training loop seen from outside: its progress bar, and its end when the loss is lost."""

import math
from collections.abc import Iterable

from tqdm import tqdm

from stages.errors import UserError
from stages.parameters import ClassifierTraining, RegressionTraining


def follow(
    stage: str,
    rows: Iterable[tuple],
    training: RegressionTraining | ClassifierTraining,
    bound: str = "",
) -> list[tuple]:
    """Return the `rows` (epoch, loss, ...) of a training loop, collected as they come.

    The bar, with the loss in it, is silent where standard error is no terminal. Raises UserError
    at the first loss that is not finite, with what theory says of lr as `bound`; the loop then
    goes no further.
    """
    history = []
    with tqdm(rows, total=training.epochs + 1, desc=stage, unit="epoch", disable=None) as bar:
        for row in bar:
            epoch, loss, *_ = row
            if not math.isfinite(loss):
                remedy = f"{bound}Lower {stage}.optimizer.lr in params.yaml."
                if epoch == 0:
                    remedy = "That is before any update: choose smaller data or a smaller start."
                raise UserError(
                    f"{stage}: the loss must stay finite; it is {loss} at epoch {epoch} with "
                    f"{training.optimizer.name} and lr {training.optimizer.lr}. {remedy}"
                )
            history.append(row)
            if not bar.disable:
                bar.set_postfix(loss=f"{loss:.6g}", refresh=False)
    return history
