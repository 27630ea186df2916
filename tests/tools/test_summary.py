import re
import sys
from pathlib import Path

import pytest

from conftest import PROJECT, run
from sample_metrics import SIMULATED
from stages.core.errors import UserError
from stages.shared.metrics import read_json, write_csv, write_json
from stages.shared.summary import METRICS, WEIGHTS, Row, Summary, Weight
from tools.summary import MAX_WIDTH, display_width, format_tables, main

PRINTED = """\
regression                         training       validation             test
  loss                                    2                3
    least squares                         1
  MSE                                     5                6                7
    true line                            21               22               23
    noise variance                       14               14               14
  MAE                                    11               12               13
    true line                            27               28               29
  R²                                    0.5             0.25        undefined
    true line                            30               31        undefined
    expected for true line                                                 15

  coefficients                      trained    least squares
    weight                              1.5             1.25

classifier                         training       validation             test
  loss                                   12               13
    loss floor                           11
  accuracy                              0.5             0.75             0.25
    95 % interval            0.444 to 0.600   0.700 to 0.800   0.000 to 1.000
    Bayes rule                           61               62               63
    Bayes accuracy                       67               67               67
  balanced accuracy                      41               42               43
  cross entropy                          47               48               49
    Bayes rule                           64               65               66
    Bayes cross entropy                  68               68               68
warning: Something is wrong. Mend it.
"""


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    parts = ({"train_regression"}, {"train_classifier"}, SIMULATED.keys() - {"weights"})
    for path, keys in zip(METRICS, parts, strict=True):
        write_json(path, {key: SIMULATED[key] for key in keys})
    rows = [list(row.values()) for row in SIMULATED["weights"]]
    write_csv(WEIGHTS, ["feature", "weight", "least_squares"], rows)


@pytest.mark.usefixtures("results")
def test_all_tables_are_printed_aligned_with_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == PRINTED


def widest(summary: Summary) -> int:
    return max(map(display_width, format_tables(summary).splitlines()))


@pytest.mark.parametrize("name", ["x" * 500, "特徴" * 100, "a\nb\x1b[31m" * 50])
def test_long_and_strange_names_fit_into_80_columns(name: str) -> None:
    rows = [Row("mean of the target", "-1.23456e-10", "-1.23456e-10", "-1.23456e-10")]
    weights = [Weight(f"weight of {name}", "-1.23456e-10", "2"), Weight("bias", "1", "2")]
    text = format_tables(Summary(rows, weights, rows, []))
    long, short = text.splitlines()[4:6]
    assert widest(Summary(rows, weights, rows, [])) == MAX_WIDTH
    assert long.startswith("    weight of ")
    assert re.search("… {3,}-1.23456e-10 {3,}2$", long)
    assert text.replace("\n", "").isprintable()
    assert re.search("bias {3,}1 {3,}2$", short)


def test_category_in_the_name_of_a_weight_is_kept() -> None:
    rows = [Row("mean of the target", "-1.23456e-10", "-1.23456e-10", "-1.23456e-10")]
    weights = [
        Weight(f"weight of ocean_proximity={category}", "-1.23456e-10", "2")
        for category in ("NEAR OCEAN", "<1H OCEAN", "I" * 60)
    ]
    lines = format_tables(Summary(rows, weights, rows, [])).splitlines()[4:7]
    assert re.match("    weight of o[a-z_]*…=NEAR OCEAN {3,}", lines[0])
    assert re.match("    weight of o[a-z_]*…=<1H OCEAN {3,}", lines[1])
    assert re.match("    weight of ocean_[a-z_]*[=I]*… {3,}", lines[2])


def test_remark_without_numbers_may_be_long() -> None:
    remark = "… and 290 more weights in metrics/regression_weights.csv"
    text = format_tables(Summary([], [Weight("a", "1", "2"), Weight(remark, "", "")], [], []))
    assert f"\n    {remark}\n" in text
    assert "\n    a                   1               2\n" in text  # as wide as the heads


@pytest.mark.usefixtures("results")
def test_long_warning_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    content = read_json(METRICS[2])
    write_json(METRICS[2], content | {"warning_texts": ["Some words. " * 20, "x\x1b"]})
    main([])
    *_, first, second, third, fourth, last = capsys.readouterr().out.splitlines()
    assert first.startswith("warning: Some words. ")
    assert all(line.startswith(("  Some", "  words")) for line in (second, third))
    assert len(fourth) <= len(first) <= MAX_WIDTH
    assert last == "warning: x□"


def test_east_asian_characters_take_two_columns() -> None:
    assert display_width("x特徴") == 5


def test_name_is_not_cut_where_it_fits() -> None:
    name = "weight of a rather long column"
    assert name in format_tables(Summary([], [Weight(name, "1.0", "2.0")], [], []))


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("path", [*METRICS, WEIGHTS])
def test_missing_file_is_named(path: str) -> None:
    Path(path).unlink()
    with pytest.raises(UserError, match=f"{path} is missing; run `dvc repro`."):
        main([])


def test_error_is_one_sentence_and_exit_status_1(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "tools.summary", cwd=tmp_path, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "metrics/train_regression.json is missing; run `dvc repro`.\n"
