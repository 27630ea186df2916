import re
from pathlib import Path

import pytest

from conftest import ARTICLE
from stages.core.errors import UserError
from stages.core.optimizers import OPTIMIZERS
from stages.shared.metrics import flatten
from tools import parameters
from tools.parameters import make_page, read_comments

TEXT = """
device: cpu # study. Where: cpu | cuda
train_classifier: # the network
  epochs: 51 # fixed. Updates # of the weights
  optimizer:
    name: SGD # study. A class
  seed: '#' # study. Seed
train_regression:
  epochs: 100 # study. Others
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Work in a folder with params.yaml and the page that belongs to it."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT)
    parameters.main([])


def test_comments_belong_to_their_keys():
    assert read_comments(TEXT) == {
        "device": "study. Where: cpu | cuda",
        "train_classifier": "the network",
        "train_classifier.epochs": "fixed. Updates # of the weights",
        "train_classifier.optimizer.name": "study. A class",
        "train_classifier.seed": "study. Seed",
        "train_regression.epochs": "study. Others",
    }


def test_list_written_as_a_block_keeps_its_comment():
    text = "a:\n  features:     # study. Columns\n  - x # 1\n  - y\n  seed: 0 # study. Seed\n"
    assert read_comments(text) == {"a.features": "study. Columns", "a.seed": "study. Seed"}


def test_row_has_kind_meaning_and_what_is_allowed():
    assert (
        "\n| `device` | study | Where: cpu \\| cuda | one of {cpu, cuda, mps, auto} |\n"
        in make_page(TEXT)
    )


def test_every_key_of_params_yaml_has_a_row():
    sections = re.split(r"^## ", make_page(""), flags=re.MULTILINE)
    rows = {section.partition("\n")[0]: section for section in sections[1:]}
    for key, _ in flatten(ARTICLE):
        section, _, name = key.replace(".optimizer.", ".optimizer-").rpartition(".")
        assert f"| `{name.replace('-', '.')}` |" in (rows[section] if section else sections[0])


def test_every_optimizer_has_a_row_and_every_argument_its_range():
    page = make_page("")
    for name in OPTIMIZERS:
        assert page.count(f"| [{name}]({parameters.TORCH}{name}.html) |") == 1
    assert "| `alpha` | a number from 0 to 1 | ASGD |" in page
    assert "| `alpha` | a number >= 0 and < 1 | RMSprop |" in page
    assert "| `nesterov` | true or false | SGD |" in page


def test_values_do_not_change_the_page():
    assert make_page(TEXT) == make_page(TEXT.replace("51", "52").replace("SGD", "Adam"))


def test_page_that_is_up_to_date_passes(written, capsys):
    capsys.readouterr()
    parameters.main(["--check"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [None, "# Parameters\n"])
def test_page_that_is_missing_or_stale_is_reported(written, content):
    page = Path(parameters.PAGE)
    page.write_text(content) if content else page.unlink()
    with pytest.raises(UserError, match="^docs/parameters.md is not up to date; run `python -m "):
        parameters.main(["--check"])
    assert page.exists() is bool(content)
