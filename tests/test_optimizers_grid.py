import csv
import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import PROJECT, call_main, run
from stages.errors import UserError
from tools import optimizers
from tools.compare import Result


def test_arrival_is_the_first_epoch_at_the_goal():
    assert optimizers.arrival(np.array([0.1, 0.6, 0.5, 0.7]), 0.6) == 1
    assert optimizers.arrival(np.array([0.1, 0.6]), 0.61) is None


def test_row_sets_the_loss_beside_its_floor():
    metrics = {"train_classifier.loss_floor": 0.3, "classifier.test.accuracy": 0.9}
    result = Result("optimizers-SGD-logits", {}, metrics, "", "")
    history = np.array([[2.0, 0.5], [1.0, 0.8]])
    assert list(optimizers.rows([result], [history], 0.7)) == [("SGD", "logits", 1, 1.0, 0.3, 0.9)]


def test_unknown_optimizer_is_refused():
    with pytest.raises(UserError, match="--only must list some of {ASGD, .*}; got 'LBFGS'"):
        optimizers.main(["--only", "SGD,LBFGS"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--epochs", "0"], "--epochs must be a whole number of at least 1; got 0."),
        (["--lr", "nan"], "must be a number from 0; got nan."),
        (["--lr", "-1"], "must be a number from 0; got -1.0."),
    ],
)
def test_odd_settings_are_refused_before_anything_is_run(edit, monkeypatch, arguments, sentence):
    monkeypatch.setattr(optimizers, "grid", None)
    monkeypatch.setattr(optimizers, "read_result", lambda *_: Result("", {}, {}, "", ""))
    with pytest.raises(UserError, match=re.escape(sentence)):
        optimizers.main(arguments)


def test_grid_is_run_once_and_shown(clone):
    path = clone / "params.yaml"
    text = path.read_text().replace("1000", "20").replace("epochs: 51", "epochs: 3")
    text = text.replace("[0, 1, 2, 3, 4, 10, 50]", "[0, 3]")
    path.write_text(
        text.replace("name: RMSprop", "name: SGD").replace(
            "  lr: 1.0e-3", "  momentum: 0.5\n    lr: 1.0e-3"
        )
    )
    assert run("dvc", "repro", cwd=clone).returncode == 0
    run("git", "commit", "-qam", "Small", cwd=clone)
    command = ("python", "-m", "tools.optimizers", "--only", "SGD,Adam,SGD", "--epochs", "2")
    first = run(*command, cwd=clone)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("optimizers: ") == 4
    with open(clone / optimizers.TABLE, newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == optimizers.HEAD
    assert [row[:2] for row in rows] == [
        [name, loss] for loss in optimizers.LOSSES for name in ("SGD", "Adam")
    ]
    with Image.open(clone / optimizers.FIGURE) as image:
        assert np.asarray(image.convert("L")).min() < 80
    status = run("git", "status", "--porcelain", cwd=clone).stdout.split()
    assert {optimizers.TABLE, optimizers.FIGURE} >= set(status) - {"??", "M"}
    again = run(*command, cwd=clone)
    assert again.stderr.count("optimizers: ") == 0
    assert again.stdout == first.stdout


def test_run_is_made_anew_if_parameters_code_or_tables_have_changed(monkeypatch):
    section = optimizers.SECTION
    settings = {"train_classifier.epochs": 4, "train_classifier.loss_on": "logits"}
    settings |= {"train_classifier.snapshots": (0,)}
    settings |= {f"{section}.name": "SGD", f"{section}.lr": 0.1}
    own = Result("workspace", {**settings, "seed": 0}, {}, "code", "tables")
    monkeypatch.setattr(optimizers, "LOSSES", ("logits",))
    monkeypatch.setattr(optimizers, "experiments", lambda: {"optimizers-SGD-logits": "1f"})
    for change, times in (
        ({}, 0),
        ({"parameters": {**own.parameters, "seed": 1}}, 2),
        ({"code": "other"}, 2),
        ({"tables": "other"}, 2),
    ):
        asked, results = [], {"workspace": own, "optimizers-SGD-logits": replace(own, **change)}
        monkeypatch.setattr(optimizers, "read_result", lambda name, _, at=results: at[name])
        monkeypatch.setattr(optimizers, "dvc", lambda *arguments, at=asked: at.append(arguments))
        list(optimizers.grid(["SGD"], 0.1, 4))
        assert len(asked) == times, change  # removed, and run


def test_goal_is_a_share_of_the_bayes_accuracy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    metrics = {"train_classifier.loss_floor": 0.3, "classifier.test.accuracy": 0.85}
    metrics["classifier.bayes_accuracy"] = 0.9
    result = Result("optimizers-SGD-logits", {f"{optimizers.SECTION}.lr": 0.1}, metrics, "", "")
    asked = []
    monkeypatch.setattr(optimizers, "read_result", lambda *_: result)
    monkeypatch.setattr(optimizers, "grid", lambda *each: asked.append(each) or [result])
    monkeypatch.setattr(optimizers, "experiments", lambda: {"optimizers-SGD-logits": "1f"})
    monkeypatch.setattr(optimizers, "draw", lambda *_: None)
    history = "epoch,loss,accuracy\n0,2,0.5\n1,1.5,0.895\n"  # 0.99 * 0.9 = 0.891
    monkeypatch.setattr(optimizers, "git", lambda *_: history)
    optimizers.main(["--only", "SGD", "--lr", "0.5", "--epochs", "1"])
    assert asked == [(["SGD"], 0.5, 1)]
    assert capsys.readouterr().out.splitlines()[2:] == ["| SGD | logits | 1 | 1.5 | 0.3 | 0.85 |"]


def test_each_loss_has_its_panel_and_each_optimizer_its_curve(monkeypatch):
    drawn = []
    monkeypatch.setattr(optimizers.figures, "save", lambda figure, path: drawn.append(figure))
    pairs = list(itertools.product(optimizers.LOSSES, ("SGD", "Adam")))
    parameters = {f"{optimizers.SECTION}.lr": 0.1}
    results = [Result(f"optimizers-{name}-{loss}", parameters, {}, "", "") for loss, name in pairs]
    histories = [np.array([[1.0, number / 10]] * 3) for number in range(4)]
    optimizers.draw(results, histories, 0.99)
    for axes, loss, accuracies in zip(
        drawn[0].axes, optimizers.LOSSES, ([0, 0.1], [0.2, 0.3]), strict=True
    ):
        curves = axes.get_lines()[:2]
        assert axes.get_title().startswith(f"Loss on {loss}")
        assert [each.get_label() for each in curves] == ["SGD", "Adam"]
        assert [each.get_ydata()[0] for each in curves] == accuracies


@pytest.mark.parametrize("name", ["RMSprop", "SGD"])
def test_committed_table_holds_what_the_committed_parameters_give(edit, name):
    with open(PROJECT / optimizers.TABLE, newline="") as file:
        table = {(row["optimizer"], row["loss_on"]): row for row in csv.DictReader(file)}
    assert set(table) == set(itertools.product(optimizers.OPTIMIZERS, optimizers.LOSSES))
    edit(("name: RMSprop", f"name: {name}"), ("epochs: 51", f"epochs: {optimizers.EPOCHS}"))
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_main(stage)
    with open("metrics/train_classifier.csv", newline="") as file:
        history = list(csv.DictReader(file))
    bayes = json.loads((PROJECT / "metrics/evaluate.json").read_text())["classifier"]
    accuracy = np.array([float(row["accuracy"]) for row in history])
    epochs = optimizers.arrival(accuracy, optimizers.SHARE * bayes["bayes_accuracy"])
    row = table[name, "probabilities"]
    assert row["final loss"] == history[-1]["loss"]
    assert row["epochs to arrive"] == ("" if epochs is None else str(epochs))
