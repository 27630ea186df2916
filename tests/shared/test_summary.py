import sys
from pathlib import Path

import pytest

from conftest import PROJECT, Change, run
from sample_metrics import CUSTOM, SIMULATED
from stages.core.errors import UserError
from stages.shared.metrics import write_csv
from stages.shared.summary import MAX_WEIGHTS, WEIGHTS, Row, read_metrics, summarize


def texts(rows: list[Row]) -> list[tuple[str, ...]]:
    return [("- " * row.is_reference + row.name, *row[1:4]) for row in rows]


def test_metrics_of_simulated_data_stand_above_theory() -> None:
    summary = summarize(SIMULATED)
    assert texts(summary.regression) == [
        ("loss", "2", "3", ""),
        ("- least squares", "1", "", ""),
        ("MSE", "5", "6", "7"),
        ("- true line", "21", "22", "23"),
        ("- noise variance", "14", "14", "14"),
        ("RMSE", "8", "9", "10"),
        ("- true line", "24", "25", "26"),
        ("MAE", "11", "12", "13"),
        ("- true line", "27", "28", "29"),
        ("R²", "0.5", "0.25", "undefined"),
        ("- true line", "30", "31", "undefined"),
        ("- expected for true line", "", "", "15"),
    ]
    assert summary.weights == [("weight", "1.5", "1.25")]
    assert texts(summary.classifier) == [
        ("loss", "12", "13", ""),
        ("- loss floor", "11", "", ""),
        ("accuracy", "0.5", "0.75", "0.25"),
        ("- 95 % interval", "0.444 to 0.600", "0.700 to 0.800", "0.000 to 1.000"),
        ("- Bayes rule", "61", "62", "63"),
        ("- Bayes accuracy", "67", "67", "67"),
        ("balanced accuracy", "41", "42", "43"),
        ("macro F1", "44", "45", "46"),
        ("AUC", "50", "51", "52"),
        ("cross entropy", "47", "48", "49"),
        ("- Bayes rule", "64", "65", "66"),
        ("- Bayes cross entropy", "68", "68", "68"),
    ]


def test_metrics_of_a_custom_table_stand_above_baselines_of_the_same_part() -> None:
    summary = summarize(CUSTOM)
    assert texts(summary.regression) == [
        ("loss", "2", "3", ""),
        ("- least squares", "1", "", ""),
        ("MSE", "5", "6", "7"),
        ("- least squares", "21", "22", "23"),
        ("- mean of the target", "71", "72", "73"),
        ("RMSE", "8", "9", "10"),
        ("- least squares", "24", "25", "26"),
        ("- mean of the target", "74", "75", "76"),
        ("MAE", "11", "12", "13"),
        ("- least squares", "27", "28", "29"),
        ("- mean of the target", "77", "78", "79"),
        ("R²", "0.5", "0.25", "undefined"),
        ("- least squares", "30", "31", "undefined"),
    ]
    assert texts(summary.classifier) == [
        ("loss", "12", "13", ""),
        ("- loss floor", "0", "", ""),
        ("accuracy", "0.5", "0.75", "0.25"),
        ("- 95 % interval", "0.444 to 0.600", "0.700 to 0.800", "0.000 to 1.000"),
        ("- majority class", "81", "82", "83"),
        ("balanced accuracy", "41", "42", "43"),
        ("macro F1", "44", "45", "46"),
        ("cross entropy", "47", "48", "49"),
        ("- class frequencies", "84", "85", "86"),
    ]


def test_weights_keep_the_order_of_the_features_and_the_bias_comes_last() -> None:
    assert summarize(CUSTOM).weights == [
        ("weight of b", "1", "2"),
        ("weight of a", "3", "4"),
        ("bias", "16", "17"),
    ]


def test_warnings_are_passed_on() -> None:
    assert summarize(SIMULATED).warnings == ["Something is wrong. Mend it."]


@pytest.mark.parametrize(
    ("n_features", "remark"),
    [
        (MAX_WEIGHTS, []),
        (MAX_WEIGHTS + 1, [f"… and 1 more weight in {WEIGHTS}"]),
        (300, [f"… and 290 more weights in {WEIGHTS}"]),
    ],
)
def test_ten_weights_are_shown_and_the_others_counted(n_features: int, remark: list[str]) -> None:
    weights = [
        {"feature": f"x{number}", "weight": "1", "least_squares": "1"}
        for number in range(n_features)
    ]
    names = [weight.name for weight in summarize(CUSTOM | {"weights": weights}).weights]
    shown = [f"weight of x{number}" for number in range(MAX_WEIGHTS)]
    assert names == [*shown, *remark, "bias"]


def test_terminal_is_spared_the_details() -> None:
    summary = summarize(SIMULATED)
    details = [row.name for row in summary.regression + summary.classifier if row.is_detail]
    assert details == ["RMSE", "true line", "macro F1", "AUC"]


def test_numbers_have_six_digits() -> None:
    changed = SIMULATED | {"train_regression": {"loss": 0.12345678, "valid_loss": 1e-7}}
    first = summarize(changed).regression[0]
    assert (first.train, first.valid) == ("0.123457", "1e-07")


@pytest.mark.parametrize("key", ["regression", "classifier", "train_regression"])
@pytest.mark.parametrize("content", [{}, [], {"test": 1}])
def test_metrics_of_another_version_are_rejected(key: str, content: object) -> None:
    with pytest.raises(UserError, match="files in metrics/ do not match .* run `dvc repro`."):
        summarize(CUSTOM | {key: content})


def test_all_is_read_from_the_files_of_the_stages(finished: Change) -> None:
    summary = summarize(read_metrics())
    assert [weight.name for weight in summary.weights] == ["weight"]
    assert len(summary.regression) == len(summary.classifier) == 12


@pytest.mark.usefixtures("finished")
def test_missing_or_corrupted_weights_are_named() -> None:
    write_csv(WEIGHTS, ["feature"], [])
    with pytest.raises(UserError, match=f"^{WEIGHTS} is corrupted; delete it and run `dvc repro`"):
        read_metrics()
    Path(WEIGHTS).unlink()
    with pytest.raises(UserError, match=f"^{WEIGHTS} is missing; run `dvc repro`.$"):
        read_metrics()


def test_import_is_light() -> None:
    code = "import stages.shared.summary, sys; print([*{'pandas', 'torch'} & sys.modules.keys()])"
    done = run(sys.executable, "-c", code, cwd=PROJECT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
