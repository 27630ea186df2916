import json
import re
import sys
from pathlib import Path

import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from stages.shared.summary import METRICS, Row
from tools.summary import MAX_WIDTH, display_width, format_tables, main

CONTENTS = (
    {"train_regression": {"loss": 93.9276}},
    {"train_classifier": {"loss": 0.45674}},
    {
        "regression": {
            "least_squares_loss": 93.9264,
            "weight": 1.98899,
            "least_squares_weight": 1.99089,
            "test": {"mse": 0.0871691, "r2": 0.798177},
            "noise_variance": 0.09,
            "noise_r2": 0.791623,
        },
        "classifier": {
            "loss_floor": 0.313262,
            "train": {"accuracy": 0.9575, "cross_entropy": 0.292353},
            "test": {"accuracy": 0.9465, "cross_entropy": 0.29339},
            "bayes_accuracy": 0.955157,
            "bayes_cross_entropy": 0.114945,
        },
    },
)
PRINTED = """\
regression                     value   reference
  training loss              93.9276   least squares             93.9264
  weight                     1.98899   least squares             1.99089
  test MSE                 0.0871691   noise variance               0.09
  test R²                   0.798177   expected for true line   0.791623

classifier                     value   reference
  training loss              0.45674   loss floor               0.313262
  training accuracy           0.9575   Bayes accuracy           0.955157
  training cross entropy    0.292353   Bayes cross entropy      0.114945
  test accuracy               0.9465   Bayes accuracy           0.955157
  test cross entropy         0.29339   Bayes cross entropy      0.114945
"""


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    for path, content in zip(METRICS, CONTENTS, strict=True):
        Path(path).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.usefixtures("results")
def test_both_tasks_are_printed_as_one_aligned_table(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == PRINTED


@pytest.mark.parametrize("name", ["x" * 500, "特徴" * 100, "a\nb\x1b[31m" * 50])
def test_long_and_strange_names_fit_into_80_columns(name: str) -> None:
    rows = [
        Row(f"weight of {name}", -1.23456e-10, "Bayes cross entropy", -1.23456e-10),
        Row("test MSE", 1.0, "mean of the target", 2.0),
    ]
    long, short = format_tables({"regression": rows}).split("\n")[1:]
    assert display_width(long) == MAX_WIDTH
    assert long.startswith("  weight of ")
    assert re.search("… {3,4}-1.23456e-10   Bayes cross entropy   -1.23456e-10$", long)
    assert long.isprintable()
    assert short.endswith("   mean of the target               2")


def test_east_asian_characters_take_two_columns() -> None:
    assert display_width("x特徴") == 5


def test_name_is_not_cut_where_it_fits() -> None:
    rows = [Row("weight of a rather long name of a column", 1.0, "least squares", 2.0)]
    assert rows[0].metric in format_tables({"regression": rows})


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("path", METRICS)
def test_missing_file_is_named(path: str) -> None:
    Path(path).unlink()
    with pytest.raises(UserError, match=f"{path} is missing; run `dvc repro`."):
        main([])


def test_error_is_one_sentence_and_exit_status_1(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "tools.summary", cwd=tmp_path, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "metrics/train_regression.json is missing; run `dvc repro`.\n"
