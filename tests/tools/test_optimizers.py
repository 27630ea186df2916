import csv
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import run
from stages.core.errors import UserError
from tools import optimizers
from tools.optimizers import Run, epochs_to_target, main, run_missing, table_row
from tools.results import Result, list_experiments, open_repo, read_result

SECTION = "train_classifier.optimizer"
LOGITS = Run("SGD", "logits", lr=0.5, epochs=4)


def read_table():
    with open(optimizers.TABLE, newline="") as file:
        return list(csv.reader(file))


def test_target_is_reached_at_the_first_epoch_not_below_it():
    assert epochs_to_target(np.array([0.1, 0.6, 0.5, 0.7]), 0.6) == 1
    assert epochs_to_target(np.array([0.1, 0.6]), 0.61) is None


def test_row_has_the_final_loss_next_to_its_floor():
    history = {"loss": np.array([2.0, 1.0]), "accuracy": np.array([0.5, 0.8])}
    metrics = {"classifier.loss_floor": 0.25, "classifier.test.accuracy": 0.9}
    assert table_row(LOGITS, history, metrics, 0.7) == ("SGD", "logits", 1, 1.0, 0.25, 0.9)


def test_grid_is_run_once_and_shown(finished_copy, capsys):
    main(["--only", "SGD,Adam,SGD", "--epochs", "2"])
    first = capsys.readouterr()
    assert first.err.count("optimizers: ") == 4
    main(["--only", "SGD,Adam", "--epochs", "2"])
    second = capsys.readouterr()
    assert (second.err, second.out) == ("", first.out)

    # The toy's accuracy, 0.5 + 0.125 epoch, reaches 0.99 * 0.75 after two epochs; its loss is 1.5.
    head, *rows = read_table()
    assert tuple(head) == optimizers.HEAD
    assert rows == [
        [name, loss_on, "2", "1.5", floor, "0.5"]
        for (loss_on, floor), name in itertools.product(
            [("probabilities", "0.25"), ("logits", "0.0")], ["SGD", "Adam"]
        )
    ]
    assert "| Adam | logits | 2 | 1.5 | 0 | 0.5 |" in first.out.splitlines()
    with Image.open(optimizers.FIGURE) as image:
        assert np.asarray(image.convert("L")).min() < 80
    changed = run("git", "status", "--porcelain", cwd=finished_copy).stdout.split()
    assert {*changed} - {"??", "M"} == {optimizers.TABLE, optimizers.FIGURE}

    name = "optimizers-Adam-logits"
    with open_repo() as repo:
        result = read_result(repo, name, list_experiments()[name])
    assert f"{SECTION}.momentum" not in result.parameters
    assert result.parameters["train_classifier.snapshots"] == [0]


def workspace():
    parameters = {"seed": 0, f"{SECTION}.momentum": 0.9, f"{SECTION}.name": "Adam"}
    return Result("workspace", parameters, {}, "code", ())


def found():
    parameters = {"seed": 0, **LOGITS.settings}
    return Result(LOGITS.name, parameters, {}, "code", ())


@pytest.fixture
def asked(monkeypatch):
    """Collect the commands of DVC instead of running them, beside one experiment."""
    commands = []
    monkeypatch.setattr(optimizers, "run_dvc", lambda *arguments: commands.append(arguments))
    monkeypatch.setattr(optimizers, "list_experiments", lambda: {LOGITS.name: "1f"})
    return commands


def test_run_with_the_same_parameters_code_and_tables_is_not_repeated(asked):
    run_missing([LOGITS], workspace(), {LOGITS.name: found()})
    assert asked == []


@pytest.mark.parametrize(
    "change",
    [{"parameters": {"seed": 1}}, {"code": "other"}, {"custom_tables": (("a.csv", "1f"),)}],
)
def test_other_run_of_the_same_name_is_replaced(asked, change):
    run_missing([LOGITS], workspace(), {LOGITS.name: replace(found(), **change)})
    assert [command[:2] for command in asked] == [("exp", "remove"), ("exp", "run")]


def test_run_sets_its_parameters_and_removes_other_arguments(asked):
    run_missing([replace(LOGITS, optimizer="ASGD")], workspace(), {})
    assert asked == [
        (
            *("exp", "run", "--temp", "--name", "optimizers-ASGD-logits"),
            *("-S", "train_classifier.epochs=4"),
            *("-S", "train_classifier.loss_on=logits"),
            *("-S", "train_classifier.snapshots=[0]"),
            *("-S", f"{SECTION}.name=ASGD"),
            *("-S", f"{SECTION}.lr=0.5"),
            *("-S", f"~{SECTION}.momentum"),
        )
    ]


def present(monkeypatch, project, metrics):
    """Present one run on probabilities and one on logits, with the accuracies 0.5 and 0.8."""
    metrics = {"loss_floor": 0.25, "test": {"accuracy": 0.85}, **metrics}
    project.write("metrics/evaluate.json", {"classifier": metrics})
    project.write("metrics/train_classifier.csv", "epoch,loss,accuracy\n0,2,0.5\n1,1.5,0.8\n")
    runs = [Run("SGD", loss_on, lr=0.5, epochs=1) for loss_on in optimizers.LOSSES]
    for item in runs:
        project.commit(item.name)
    figures = []
    monkeypatch.setattr("stages.figures.curves.draw_optimizers", lambda *args: figures.append(args))
    optimizers.present(runs, 0.5)
    (figure,) = figures
    return figure


def test_target_is_a_share_of_the_bayes_accuracy(monkeypatch, project):
    _, _, target, lr = present(monkeypatch, project, {"bayes_accuracy": 0.75})
    assert (target, lr) == (0.99 * 0.75, 0.5)
    assert read_table()[1] == ["SGD", "probabilities", "1", "1.5", "0.25", "0.85"]


def test_target_of_a_custom_table_is_a_share_of_the_best_accuracy(monkeypatch, project):
    assert present(monkeypatch, project, {})[2] == pytest.approx(0.99 * 0.8)


def test_figure_shows_the_accuracies_by_loss_and_optimizer(monkeypatch, project):
    path, curves, *_ = present(monkeypatch, project, {})
    assert path == optimizers.FIGURE
    assert list(curves) == list(optimizers.LOSSES)
    assert curves["logits"]["SGD"].tolist() == [0.5, 0.8]


def test_history_is_found_in_a_subfolder_of_a_larger_repository(monkeypatch, subfolder):
    assert list(present(monkeypatch, subfolder, {})[1]["logits"]["SGD"]) == [0.5, 0.8]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "SGD,LBFGS"], "--only must list some of {ASGD, "),
        (["--epochs", "0"], "--epochs must be an integer >= 1; got 0."),
        (["--lr", "nan"], "must be a number >= 0; got nan."),
        (["--lr", "-1"], "must be a number >= 0; got -1.0."),
    ],
)
def test_odd_settings_are_rejected_before_anything_is_run(project, asked, arguments, sentence):
    project.commit()
    with pytest.raises(UserError, match=re.escape(sentence)):
        main(arguments)
    assert asked == []
