import hashlib
import json
import re
from pathlib import Path

import pytest

from conftest import call_main
from stages.errors import UserError
from stages.report import REPORT, curve, data_rows, regression_rows, shown, table
from tools.compare import text

FIGURES = 9
CURVES = 4


@pytest.fixture
def page(finished, open_page):
    page, troubles = open_page(Path(REPORT).resolve())
    assert troubles == []
    return page


def test_every_image_has_loaded_and_no_request_leaves_the_file(page):
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == FIGURES
    assert min(sizes) > 100


def test_page_holds_no_script_and_no_address(finished):
    text = Path(REPORT).read_text()
    assert "<script" not in text
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[^\"]*", "", text))


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(finished, open_page, width, scheme):
    page, _ = open_page(Path(REPORT).resolve(), width)
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """[...document.querySelectorAll("main *")].filter(
        each => each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.tagName)"""
    assert page.evaluate(wide) == []


def test_light_and_dark_differ_and_both_can_be_read(page):
    seen = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        style = "(({color, backgroundColor}) => [color, backgroundColor])"
        ink, paper = (
            sum(map(int, re.findall(r"\d+", each)[:3]))
            for each in page.evaluate(f"{style}(getComputedStyle(document.body))")
        )
        assert abs(ink - paper) > 500
        seen.add(ink > paper)
    assert seen == {True, False}


def test_reader_of_the_screen_finds_headings_and_alternative_texts(page):
    tree = page.locator("body").aria_snapshot()
    for heading in ("Regression", "Classifier", "Parameters and data"):
        assert f'heading "{heading}" [level=2]' in tree
    named = re.findall(r"- '?img \"", tree)
    assert len(named) == FIGURES + CURVES
    assert not re.search(r"- '?img'?:?$", tree, flags=re.M)


def test_print_is_dark_on_white(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_page_shows_every_number_beside_its_limit(finished):
    text = Path(REPORT).read_text()
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    line, clusters = metrics["regression"], metrics["classifier"]
    rows = [
        ("weight", line["weight"], "least squares", line["least_squares_weight"]),
        ("test MSE", line["test"]["mse"], "noise variance", line["noise_variance"]),
        ("test R²", line["test"]["r2"], "noise variance", line["noise_r2"]),
        ("test accuracy", clusters["test"]["accuracy"], "Bayes", clusters["bayes_accuracy"]),
        (
            "test cross entropy",
            clusters["test"]["cross_entropy"],
            "Bayes",
            clusters["bayes_cross_entropy"],
        ),
    ]
    for first, value, limit, bound in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{value:.6g}", limit, f"{bound:.6g}"))
        assert f'<tr><th scope="row">{first}</th>{cells}</tr>' in text


def test_page_shows_parameters_size_and_md5(finished):
    text = Path(REPORT).read_text()
    assert '<th scope="row">train_classifier.<wbr>optimizer.<wbr>name</th><td>RMSprop</td>' in text
    content = Path("data/raw/regression.parquet").read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    cells = f"<td>8</td><td>8</td><td>{len(content)}</td><td><span>{md5}</span></td>"
    assert cells in text


def test_each_coefficient_stands_beside_its_own_least_squares():
    line = {"weights": {"a": 1, "b": 2}, "least_squares_weights": {"b": 4, "a": 3}}
    line |= {"bias": 5, "least_squares_bias": 6, "noise_variance": 9, "noise_r2": 10}
    line["test"] = {"mse": 7, "r2": 8}
    rows = list(regression_rows({"regression": line}, {"loss": 2, "least_squares_loss": 1}))
    assert rows == [
        ("training loss", 2, "least squares", 1),
        ("bias", 5, "least squares", 6),
        ("weight of a", 1, "least squares", 3),
        ("weight of b", 2, "least squares", 4),
        ("test MSE", 7, "noise variance", 9),
        ("test R²", 8, "noise variance", 10),
    ]


def test_rows_to_train_on_come_before_those_held_out(finished):
    finished(("n_test: 8", "n_test: 5"))
    for stage in ("generate_data", "convert_to_tensors"):
        call_main(stage)
    assert [row[1:3] for row in data_rows()] == [(8, 5), (8, 8)]


def test_same_results_give_the_same_page(finished):
    before = Path(REPORT).read_bytes()
    Path(REPORT).unlink()
    call_main("report")
    assert Path(REPORT).read_bytes() == before


def test_curve_runs_from_the_first_epoch_to_the_last():
    rows = [{"epoch": "0", "loss": "3"}, {"epoch": "1", "loss": "2"}, {"epoch": "2", "loss": "1"}]
    drawn = curve(rows, "loss", "Loss")
    assert 'points="80.0,15.0 275.0,110.0 470.0,205.0"' in drawn
    assert re.findall(r'y="(\d+)" text-anchor="end">(\d)<', drawn) == [("20", "3"), ("205", "1")]
    assert 'aria-label="Loss: loss 3 at epoch 0, 1 at epoch 2"' in drawn


def test_flat_curve_is_drawn():
    assert 'points="80.0,205.0 470.0,205.0"' in curve(
        [{"epoch": "0", "loss": "1"}, {"epoch": "1", "loss": "1"}], "loss", "Loss"
    )


def test_names_cannot_change_the_page():
    made = table("<i>", ["<b>"], [["<script>", "<u>", 0.5]])
    assert not re.search(r"<(i|b|u|script)>", made)
    assert shown("a & b") == "a &amp; b"


def test_texts_are_shown_as_they_are_written():
    assert shown("Größe") == text("Größe") == "Größe"
    assert shown([0.5, True, None]) == text([0.5, True, None]) == "[0.5, true, null]"


def test_figure_of_many_parts_takes_the_whole_width(page):
    widths = "[...document.images].map(each => [each.alt, each.getBoundingClientRect().width])"
    widths = dict(page.evaluate(widths))
    wide = widths.pop("Predicted classes at several epochs of the training")
    assert wide > 900
    assert max(widths.values()) < 600


@pytest.mark.parametrize(
    "name",
    [
        "evaluate.json",
        "train_regression.json",
        "train_classifier.csv",
        "figures/regression_data.png",
    ],
)
def test_damaged_result_is_refused(finished, name):
    Path("metrics", name).write_text("epoch\n0\n" if name.endswith("csv") else "{")
    with pytest.raises(UserError, match=f"metrics/{name} is damaged; `dvc repro"):
        call_main("report")
