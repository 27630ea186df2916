import csv
import hashlib
import html
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from conftest import (
    ARTICLE,
    PROJECT,
    SMALL,
    Change,
    call_stage,
    change_params,
    run,
    write_params,
)
from stages.core.errors import UserError
from stages.core.schema import STAGES
from stages.report import (
    CLASSES,
    CONVERSION,
    FIGURES,
    MAX_CLASSES,
    MAX_NAMES,
    REPORT,
    SPLIT_BY,
    breakable,
    checksum,
    describe_source,
    describe_split,
    join_names,
    remarks,
)
from stages.shared.metadata import RegressionTruth
from stages.shared.metrics import read_json, read_rows, write_csv, write_json
from stages.shared.summary import METRICS, WEIGHTS, read_metrics, summarize

N_FIGURES = 12
LONG = "x" * 120
MARKUP = "<b>age</b> \"of\" 'x' & $y^2$"
CUSTOM = {
    "convert_to_tensors.regression.table": "data/points.csv",
    "convert_to_tensors.regression.target": "y",
    "convert_to_tensors.regression.standardize": True,
    "convert_to_tensors.classification.table": f"data/{'long/' * 20}groups.csv",
    "convert_to_tensors.classification.target": "<i>kind</i>",
    "train_regression.bias": True,
    "train_classifier.loss_on": "logits",
    "train_classifier.class_weight": "balanced",
}


def table_rows(page: str) -> list[list[str]]:
    """Return the texts of the cells of every table row."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page)
    return [
        [to_text(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows
    ]


def to_text(content: str) -> str:
    return html.unescape(content.replace("<wbr>", ""))


def read_report(folder: Path) -> str:
    return (folder / REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def custom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where all stages have run on tables with awkward names; not to write to."""
    folder = tmp_path_factory.mktemp("custom")
    generator = random.Random(0)
    rows = [[generator.random() for _ in range(3)] for _ in range(12)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(ARTICLE)
        change_params(SMALL | CUSTOM)
        Path(CUSTOM["convert_to_tensors.classification.table"]).parent.mkdir(parents=True)
        with open("data/points.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([[MARKUP, LONG, "y"], *rows])
        groups = CUSTOM["convert_to_tensors.classification.table"]
        with open(groups, "w", encoding="utf-8", newline="") as file:
            labels = [f"<u>{LONG}{number % 2}</u>" for number in range(len(rows))]
            named = ([*row, label] for row, label in zip(rows, labels, strict=True))
            csv.writer(file).writerows([[MARKUP, LONG, "z", "<i>kind</i>"], *named])
        for stage in STAGES:
            if stage != "generate_data":
                call_stage(stage)
    return folder


@pytest.fixture(params=["simulated", "custom"])
def folder(request: pytest.FixtureRequest) -> Path:
    fixture = {"simulated": "finished_folder", "custom": "custom_folder"}[request.param]
    return request.getfixturevalue(fixture)


# Content


def rows_below(page: str, head: list[str]) -> list[list[str]]:
    """Return the rows of the table, or the tables, with this head, and what follows."""
    rows = table_rows(page)
    return rows[rows.index(head) + 1 :]


METRICS_HEAD = ["Metric", "Training", "Validation", "Test"]


def test_metrics_stand_above_their_references(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    summary, page = summarize(read_metrics()), read_report(folder)
    expected = [list(row[:4]) for row in summary.regression]
    assert rows_below(page, METRICS_HEAD)[: len(expected)] == expected
    below = rows_below(page, ["Coefficient", "Trained", "Least squares"])
    assert below[: len(summary.weights)] == [list(weight) for weight in summary.weights]
    assert all(list(row[:4]) in table_rows(page) for row in summary.classifier)
    n_references = sum(row.is_reference for row in summary.regression + summary.classifier)
    assert page.count('<tr class="reference">') == n_references


def test_each_class_has_a_row(custom_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(custom_folder)
    head = ["Class", "Training, validation, test rows", "Recall", "Precision", "F1"]
    shown = rows_below(read_report(custom_folder), head)[:2]
    for row, cells in zip(read_rows(CLASSES), shown, strict=True):
        numbers = f"{row['train_rows']}, {row['valid_rows']}, {row['test_rows']}"
        scores = [row[key] or "undefined" for key in ("recall", "precision", "f1")]
        assert cells == [row["class"], numbers, *scores]


def test_classes_beyond_those_shown_are_counted(finished: Change) -> None:
    columns = list(read_rows(CLASSES)[0])
    rows = [[f"c{number}", 3, 2, 1, None, 1.0, 0.0] for number in range(MAX_CLASSES + 2)]
    write_csv(CLASSES, columns, rows)
    call_stage("report")
    rows_shown = table_rows(Path(REPORT).read_text(encoding="utf-8"))
    assert ["c49", "3, 2, 1", "undefined", "1.0", "0.0"] in rows_shown
    assert [f"… and 2 more in {CLASSES}"] in rows_shown
    assert not any(row[0] == "c50" for row in rows_shown)


def test_every_metric_is_explained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    summary = summarize(read_metrics())
    page = read_report(folder)
    for section, rows in (("regression", summary.regression), ("classifier", summary.classifier)):
        text = page[page.index(f'<section id="{section}">') :]
        terms = set(re.findall(r"<dt>(.*?)</dt>", text[: text.index("</section>")]))
        assert {row.name for row in rows} - {"macro F1"} <= terms
    assert {"weight", "logits", "recall", "precision", "F1"} <= set(
        re.findall(r"<dt>(.*?)</dt>", page)
    )


def test_glossary_describes_the_parameters_at_hand(
    finished_folder: Path, custom_folder: Path
) -> None:
    simulated, custom = read_report(finished_folder), read_report(custom_folder)
    assert "probabilities as if they were logits" in simulated
    assert "cross entropy of the logits; rare classes weigh as much as frequent ones." in custom
    assert "rare classes weigh" not in simulated
    assert "scaled to the number of training rows" in simulated
    assert "changes with one unit of the feature" in simulated
    assert "changes with one standard deviation of the feature" in custom
    assert "Bayes" not in custom
    assert "majority class" not in re.sub(r"<ul>.*?</ul>", "", simulated, flags=re.DOTALL)


def test_one_training_accuracy_is_shown(finished_folder: Path) -> None:
    page = read_report(finished_folder)
    assert "training mode" not in page
    assert [row[0] for row in table_rows(page)].count("accuracy") == 1


def test_glossary_says_of_which_rows_a_mean_is(custom_folder: Path) -> None:
    page = " ".join(read_report(custom_folder).split())
    assert "0 is no better than the mean of these rows." in page
    assert "always predicts the mean of the target of the training rows." in page


def test_warnings_stand_on_top(finished: Change) -> None:
    page = Path(REPORT).read_text(encoding="utf-8")
    (texts,) = re.findall(r'<section id="warnings".*?</section>', page, re.DOTALL)
    assert page.index(texts) < page.index('<section id="regression">')
    shown = [to_text(text) for text in re.findall("<li>(.*?)</li>", texts)]
    assert shown == read_json(METRICS[2])["warning_texts"]
    assert shown


def test_page_without_warnings_has_no_place_for_them(finished: Change) -> None:
    write_json(METRICS[2], read_json(METRICS[2]) | {"warnings": {}, "warning_texts": []})
    call_stage("report")
    assert "arnings</" not in Path(REPORT).read_text(encoding="utf-8")


def test_checksum_is_that_of_dvc(tmp_path: Path) -> None:
    folder = tmp_path / "sales"
    folder.mkdir()
    for name in ("part.10.parquet", "part.9.parquet", "é.parquet", "_SUCCESS"):
        (folder / name).write_text(name)
    (tmp_path / "a.csv").write_text("a,t\n1,2\n")
    assert run("dvc", "init", "--no-scm", cwd=tmp_path).returncode == 0
    assert run("dvc", "add", "sales", "a.csv", cwd=tmp_path).returncode == 0
    for path in (folder, tmp_path / "a.csv"):
        known = yaml.safe_load(Path(f"{path}.dvc").read_text())["outs"][0]
        assert checksum(path) == (known["size"], known["md5"])


def test_checksum_of_a_large_folder_counts_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("a.parquet", 10), ("b.parquet", 25)):
        (tmp_path / name).write_bytes(b"x" * size)
    expected = checksum(tmp_path)
    counted: list[int] = []
    totals = []

    @contextmanager
    def bar(stage: str, total: int, unit: str) -> Iterator[Any]:
        totals.append((stage, total, unit))
        yield SimpleNamespace(update=counted.append)

    monkeypatch.setattr("stages.report.LARGE", 35)
    monkeypatch.setattr("stages.report.BLOCK", 8)
    monkeypatch.setattr("stages.shared.chunks.progress_bar", bar)
    assert checksum(tmp_path) == expected
    assert totals == [("report", 35, "B")]
    assert counted == [8, 2, 8, 8, 8, 1]


def test_simulated_data_is_described(finished: Change) -> None:
    finished({"generate_data.regression.n_test": 5, "generate_data.seed": 7})
    for stage in ("generate_data", "convert_to_tensors", "report"):
        call_stage(stage)
    rows = table_rows(Path(REPORT).read_text(encoding="utf-8"))
    content = Path("data/raw/regression.parquet").read_bytes()
    start = rows.index(["table", "data/raw/regression.parquet"])
    source = "simulated with seed 7, n_samples 8, n_valid 8, n_test 5, weight 2.0, noise_std 0.3"
    assert rows[start : start + 10] == [
        ["table", "data/raw/regression.parquet"],
        ["source", source],
        ["target", "y"],
        ["features", "x"],
        ["training rows", "8"],
        ["validation rows", "8"],
        ["test rows", "5"],
        ["split", "by the column split of the table"],
        ["bytes", str(len(content))],
        ["md5", hashlib.md5(content).hexdigest()],
    ]


def test_custom_table_is_described(custom_folder: Path) -> None:
    rows, notes = table_rows(read_report(custom_folder)), custom_folder / CONVERSION
    start = rows.index(["table", CUSTOM["convert_to_tensors.classification.table"]])
    assert rows[start + 1 : start + 10] == [
        ["source", "custom table"],
        ["target", "<i>kind</i>"],
        ["features", f"{MARKUP}, {LONG}, z"],
        ["classes", f"<u>{LONG}0</u>, <u>{LONG}1</u>"],
        ["training rows", "8"],
        ["validation rows", "2"],
        ["test rows", "2"],
        ["split", SPLIT_BY["random"]],
        ["rows by class", dict(read_json(str(notes))["preparation"]["classification"])["classes"]],
    ]


def test_everything_that_was_done_to_a_table_is_listed(finished: Change) -> None:
    content = read_json(CONVERSION)
    content["convert_to_tensors"]["regression"]["split_by"] = "group:city"
    notes = [("left_out", "id (unnamed)"), ("one_hot", "a (b, c)")]
    content["preparation"]["regression"] = notes
    write_json(CONVERSION, content)
    call_stage("report")
    rows = table_rows(Path(REPORT).read_text(encoding="utf-8"))
    start = rows.index(["split", "by groups: rows with the same city stay together"])
    assert rows[start + 1 : start + 3] == [
        ["left out", "id (unnamed)"],
        ["one-hot encoded", "a (b, c)"],
    ]


def test_every_parameter_is_shown_exactly_and_no_other(finished: Change) -> None:
    optimizer = {"name": "Adam", "lr": 0.123456789, "betas": [0.5, 0.25]}
    finished({"train_classifier.optimizer": optimizer})
    call_stage("report")
    rows = table_rows(Path(REPORT).read_text(encoding="utf-8"))
    shown = dict(rows[rows.index(["Parameter", "Value"]) + 1 :])
    assert shown["train_classifier.optimizer.name"] == "Adam"
    assert shown["train_classifier.optimizer.lr"] == "0.123456789"
    assert shown["train_classifier.optimizer.betas"] == "[0.5, 0.25]"
    assert shown["convert_to_tensors.regression.standardize"] == "false"
    assert "train_classifier.optimizer.eps" not in shown
    assert {key.partition(".")[0] for key in shown} == ARTICLE.keys() - {
        "generate_data",
        *("launcher", "timeout", "checkpoint_every"),  # on which no result depends
    }


def test_absence_of_a_commit_is_explained(finished_folder: Path) -> None:
    assert "This page names no Git commit, because" in read_report(finished_folder)


def test_names_cannot_change_the_page(custom_folder: Path) -> None:
    page = read_report(custom_folder)
    assert not re.search(r"<(b|i|u)>", page)
    assert "&lt;b&gt;age&lt;/b&gt; &#34;of&#34; &#39;x&#39; &amp; $y^2$" in page


@pytest.mark.usefixtures("finished")
def test_template_escapes_what_it_is_not_told_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = ("regression_data.png", "<i>caption", '"><i>alt')
    monkeypatch.setattr("stages.report.FIGURES", {"regression": [figure], "classifier": []})
    call_stage("report")
    page = Path(REPORT).read_text(encoding="utf-8")
    assert "<i>" not in page
    assert "&lt;i&gt;caption" in page
    assert 'alt="&#34;&gt;&lt;i&gt;alt"' in page


def test_page_has_no_script_and_no_address(folder: Path) -> None:
    page = re.sub(r'base64,[^"]*', "", read_report(folder))
    assert "<script" not in page
    assert not re.search(r"https?:|//[a-z]", page)


def test_same_results_give_the_same_bytes(finished: Change) -> None:
    before = Path(REPORT).read_bytes()
    Path(REPORT).unlink()
    call_stage("report")
    assert Path(REPORT).read_bytes() == before


# Errors


@pytest.mark.parametrize(
    "path",
    [
        *METRICS,
        CLASSES,
        CONVERSION,
        WEIGHTS,
        "data/tensors/regression.safetensors",
        "data/tensors/classification.safetensors",
        "metrics/figures/regression_curves.png",
    ],
)
@pytest.mark.usefixtures("finished")
def test_missing_or_corrupted_result_is_named(path: str) -> None:
    Path(path).write_text("" if path.endswith(".csv") else "{", encoding="utf-8")
    with pytest.raises(UserError, match=f"^{path} is corrupted; delete it and run `dvc repro`.$"):
        call_stage("report")
    Path(path).unlink()
    with pytest.raises(UserError, match=f"^{path} is missing; run `dvc repro`.$"):
        call_stage("report")


@pytest.mark.usefixtures("finished")
def test_missing_table_is_named() -> None:
    Path("data/raw/regression.parquet").unlink()
    with pytest.raises(UserError, match="^data/raw/regression.parquet is missing"):
        call_stage("report")


@pytest.mark.usefixtures("finished")
def test_model_in_place_of_tensors_is_rejected() -> None:
    shutil.copy("data/models/regression.safetensors", "data/tensors/regression.safetensors")
    with pytest.raises(UserError, match="^data/tensors/regression.safetensors is corrupted"):
        call_stage("report")


# Functions


def test_names_break_after_separators_but_numbers_do_not() -> None:
    broken = breakable("train_x.optimizer/lr, v1.5, a < 0.25")
    assert broken == "train_<wbr>x.<wbr>optimizer/<wbr>lr, v1.5, a &lt; 0.25"


def test_ten_names_are_shown_and_the_others_counted() -> None:
    names = [f"x{number}" for number in range(MAX_NAMES)]
    assert join_names(names) == "x0, x1, x2, x3, x4, x5, x6, x7, x8, x9"
    assert join_names([*names, "y", "z"]) == f"{join_names(names)} … and 2 more"


def test_source_is_the_simulation_if_there_was_one() -> None:
    truth = RegressionTruth(seed=1, n_samples=2, n_valid=3, n_test=3, weight=4.0, noise_std=0.5)
    expected = "simulated with seed 1, n_samples 2, n_valid 3, n_test 3, weight 4.0, noise_std 0.5"
    assert describe_source(truth) == expected
    assert describe_source(None) == "custom table"


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("last", "by order: the last rows to test, those before them to validate"),
        ("group:a b", "by groups: rows with the same a b stay together"),
        ("another way", "another way"),
    ],
)
def test_split_is_described(text: str, described: str) -> None:
    assert describe_split(text) == described


@pytest.mark.parametrize(
    ("name", "n_features", "words"),
    [
        ("regression_curves.png", 1, ["logarithmic"]),
        ("regression_curves.png", 2, ["logarithmic", "norm of the weights"]),
        ("classifier_curves.png", 9, ["logarithmic"]),
        ("classification_data.png", 2, []),
        ("classification_data.png", 3, ["directions"]),
        ("regression_data.png", 9, []),
    ],
)
def test_caption_explains_what_the_figure_shows(
    name: str, n_features: int, words: list[str]
) -> None:
    found = list(remarks(name, n_features))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_import_is_light() -> None:
    slow = {"matplotlib", "pandas", "pyarrow", "scipy", "torch"}
    code = f"import stages.report, sys; print(sorted({slow} & sys.modules.keys()))"
    done = run(sys.executable, "-c", code, cwd=PROJECT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# In the browser

OVERFLOWING = """[...document.querySelectorAll("main *")].filter(
    element => !element.closest(".card") || element.matches(".card")
).filter(
    element => element.getBoundingClientRect().right > innerWidth + 0.5
).map(element => element.outerHTML.slice(0, 80))"""


@pytest.fixture
def page(finished_folder: Path, open_page: Callable[..., Any]) -> Any:
    page, problems = open_page(finished_folder / REPORT)
    assert problems == []
    return page


def style(page: Any, selector: str, name: str) -> str:
    return page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}")


def test_every_figure_loads_and_nothing_is_requested(page: Any) -> None:
    images = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.alt])")
    assert len(images) == N_FIGURES == sum(map(len, FIGURES.values()))
    assert all(width > 100 and alt for width, alt in images)


def test_screen_reader_finds_contents_headings_and_figures(page: Any) -> None:
    tree = page.locator("body").aria_snapshot()
    for heading in ("Warnings", "Regression", "Classifier", "Data", "Parameters"):
        assert f'link "{heading}"' in tree
        assert f'heading "{heading}" [level=2]' in tree
    assert len(re.findall(r"- '?img \"", tree)) == N_FIGURES
    targets = "[...document.querySelectorAll('nav a')].map(link => link.hash)"
    sections = "[...document.querySelectorAll('section')].map(section => `#${section.id}`)"
    assert page.evaluate(targets) == page.evaluate(sections)


def test_curves_are_the_first_figure_of_each_section(page: Any) -> None:
    sections = "[...document.querySelectorAll('section')]"
    alts = page.evaluate(f"{sections}.map(s => s.querySelector('img')?.alt ?? '')")
    assert [alt.startswith("Curves") for alt in alts] == [False, True, True, False, False]


def test_page_never_scrolls_sideways(folder: Path, open_page: Callable[..., Any]) -> None:
    page, _ = open_page(folder / REPORT)
    for width in (1280, 700, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOWING) == [], width


def test_wide_figures_keep_their_size_and_scroll_inside_their_card_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    card = """card => [card.scrollWidth > card.clientWidth, card.tabIndex,
        card.firstChild.clientWidth === card.firstChild.naturalWidth]"""
    cards = page.evaluate(f"[...document.querySelectorAll('.wide .card')].map({card})")
    assert cards == [[True, 0, True]] * 3  # curves of both tasks, classes by epoch
    others = page.evaluate(f"[...document.querySelectorAll('figure:not(.wide) .card')].map({card})")
    assert not any(scrolls for scrolls, *_ in others)


def test_light_and_dark_differ_and_both_can_be_read(page: Any) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, paper = (
            sum(map(int, re.findall(r"\d+", style(page, "body", name))))
            for name in ("color", "backgroundColor")
        )
        assert abs(ink - paper) > 500
        seen.add(ink > paper)
        assert style(page, ".card", "backgroundColor") == "rgb(255, 255, 255)"
        assert style(page, ".card", "paddingLeft") == "8px"
    assert seen == {True, False}


def test_numbers_are_aligned(page: Any) -> None:
    assert style(page, "td.number", "textAlign") == "right"
    assert style(page, "td.number", "fontVariantNumeric") == "tabular-nums"


def test_paper_is_white_and_has_no_animation(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert style(page, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert style(page, "body", "color") == "rgb(0, 0, 0)"
    assert style(page, ".animation", "display") == "none"


def test_animation_is_left_out_for_those_who_prefer_no_motion(page: Any) -> None:
    assert style(page, ".animation", "display") == "block"
    page.emulate_media(reduced_motion="reduce")
    assert style(page, ".animation", "display") == "none"


def test_one_name_that_is_left_out_is_counted() -> None:
    assert join_names(["x"] * (MAX_NAMES + 1)).endswith("x … and 1 more")
