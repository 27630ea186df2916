import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from stages.errors import UserError
from tools import baselines


def test_models_are_scored_on_the_rows_held_out(tmp_path):
    rows = pd.DataFrame(
        {"x": [0.0, 1, 2, 3], "y": [0.0, 1, 2, 5], "split": ["train"] * 2 + ["test"] * 2}
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    # The line y = x leaves 0 and 4 as squared errors; the test mean of 3.5 leaves 2.25 twice.
    assert baselines.score(str(tmp_path / "rows.parquet"), LinearRegression()) == pytest.approx(
        1 - 4 / 4.5
    )


def test_both_models_are_shown_beside_scikit_learns(finished, capsys):
    baselines.main([])
    line, clusters = capsys.readouterr().out.splitlines()
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    assert f"  {metrics['regression']['test']['r2']:.6g}  LinearRegression" in line
    assert f"  {metrics['classifier']['test']['accuracy']:.6g}  LogisticRegression" in clusters


def test_r2_of_one_row_held_out_is_left_open(finished, capsys):
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    metrics["regression"]["test"]["r2"] = None
    Path("metrics/evaluate.json").write_text(json.dumps(metrics))
    baselines.main([])
    assert "test R^2       -  LinearRegression" in capsys.readouterr().out


def test_missing_results_name_their_stage(small):
    with pytest.raises(UserError, match="metrics/evaluate.json is missing; `dvc repro evaluate`"):
        baselines.main([])
