"""Train every case of a list, as a rank under torchrun, or alone.

    [torchrun ...] rank_cases.py CASE ...

Each CASE is a folder with params.yaml and data/tensors/. Starting torchrun once and not for every
case is what this is for.
"""

import os
import sys

from stages import train_classifier, train_regression
from stages.core.params import read_params
from stages.core.schema import TrainClassifier, TrainRegression
from stages.shared.ranks import process_group

if __name__ == "__main__":
    top = os.getcwd()
    with process_group("cpu", timeout=30):
        for case in sys.argv[1:]:
            os.chdir(os.path.join(top, case))
            train_regression.main(read_params(TrainRegression))
            train_classifier.main(read_params(TrainClassifier))
