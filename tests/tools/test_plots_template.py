"""The page of `dvc plots show`: drawn in a browser without a network, and made by the tool."""

import json
import re
from pathlib import Path

import pytest
import yaml

from conftest import PROJECT, run
from stages.core.errors import UserError
from tools import plots_template

PIPELINE = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
STAGE_PLOTS = [plot for stage in PIPELINE["stages"].values() for plot in stage.get("plots", [])]
PLOTS = [path for plot in STAGE_PLOTS for path in plot]
CURVES = [path for path in PLOTS if path.endswith(".csv")] + PIPELINE["plots"]
IMAGES = [path for path in PLOTS if not path.endswith(".csv")]
PAGE = (PROJECT / plots_template.TEMPLATE).read_text(encoding="utf-8")

# Axes and text are gray; lines and cells have a color.
COLORED = """canvases => canvases.map(canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
        count += Math.max(...data.slice(i, i + 3)) - Math.min(...data.slice(i, i + 3)) > 50;
    return count;
})"""


def show(folder, open_page, *command):
    shown = run("dvc", "plots", *command, cwd=folder)
    assert shown.returncode == 0, shown.stderr
    return open_page(folder / "dvc_plots/index.html")


def colored(page, expected):
    """Return how many colored pixels each plot has, once as many plots as expected are drawn."""
    page.locator("canvas").nth(expected - 1).wait_for()
    return page.locator("canvas").evaluate_all(COLORED)


def test_every_curve_is_drawn_without_a_network(clone, open_page):
    page, problems = show(clone, open_page, "show")
    pixels = colored(page, len(CURVES))
    assert len(pixels) == len(CURVES)
    assert min(pixels) > 200
    assert problems == []


def test_every_figure_is_shown(clone, open_page):
    page, _ = show(clone, open_page, "show")
    widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) == len(IMAGES)
    assert min(widths) > 0


def test_revisions_are_drawn_beside_each_other_without_a_network(clone, open_page):
    path = clone / "metrics/train_regression.csv"
    path.write_text(path.read_text().replace(",1", ",2"))
    page, problems = show(clone, open_page, "diff", "--targets", "metrics/train_regression.csv")
    assert min(colored(page, 1)) > 400
    assert '"rev": "HEAD"' in (clone / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert problems == []


def test_request_to_the_network_is_noticed(tmp_path, open_page):
    (tmp_path / "page.html").write_text('<script src="https://example.org/x.js"></script>')
    _, problems = open_page(tmp_path / "page.html")
    assert problems == ["request: https://example.org/x.js"]


def test_error_of_a_script_is_noticed(tmp_path, open_page):
    (tmp_path / "page.html").write_text("<script>throw new Error('broken')</script>")
    _, problems = open_page(tmp_path / "page.html")
    assert problems == ["error: broken"]


def add_package(folder, name, version, script="", sources=(), license_="", **about):
    (folder / f"{name}/build").mkdir(parents=True)
    about |= {"version": version}
    (folder / f"{name}/package.json").write_text(json.dumps(about))
    (folder / f"{name}/build/{name}.min.js").write_text(script, encoding="utf-8")
    (folder / f"{name}/build/{name}.min.js.map").write_text(json.dumps({"sources": sources}))
    if license_:
        (folder / f"{name}/LICENSE").write_text(license_, encoding="utf-8")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Work in a temporary folder; return a folder of three small packages and a part of one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "node_modules"
    sources = ["../src/a.js", "../../part/src/b.js", "../index.js"]
    add_package(folder, "vega", "5.1.0", "var vega = 1;", sources, repository="vega/vega")
    add_package(folder, "part", "1.0.0", license_="License of vega  \n", repository="vega/vega")
    add_package(folder, "vega-lite", "5.2.0", "var lite = '…';", license_="Another license\n")
    add_package(folder, "vega-embed", "6.3.0", "var embed = 3;", license_="Another license\n")
    return folder


def make(*arguments):
    plots_template.main(arguments)
    return Path(plots_template.TEMPLATE).read_bytes()


def test_scripts_are_in_the_page_in_their_order(packages):
    page = plots_template.make_page(packages)
    assert re.findall("<script>(.*?)</script>", page) == [
        "var vega = 1;",
        "var lite = '…';",
        "var embed = 3;",
    ]
    assert "It contains vega 5.1.0, vega-lite 5.2.0, vega-embed 6.3.0,\n" in page


def test_every_license_appears_once_below_all_that_it_covers(packages):
    page = plots_template.make_page(packages)
    first = "== part, vega ==\n\nLicense of vega\n\n"
    assert f"{first}== vega-embed, vega-lite ==\n\nAnother license\n-->" in page


def test_charset_is_where_a_browser_looks_for_it(packages):
    assert plots_template.make_page(packages).encode().index(b'charset="utf-8"') < 1024


def test_script_cannot_end_its_element_early(packages, open_page, tmp_path):
    script = "document.title = '</script><!--<SCRIPT>'\n//# sourceMappingURL=vega.min.js.map"
    (packages / "vega/build/vega.min.js").write_text(script)
    (tmp_path / "page.html").write_text(plots_template.make_page(packages), encoding="utf-8")
    page, problems = open_page(tmp_path / "page.html")
    assert page.title() == "</script><!--<SCRIPT>"
    assert page.evaluate("embed") == 3
    assert problems == []
    assert "sourceMappingURL" not in page.content()


def test_license_cannot_end_its_comment_early(packages):
    (packages / "vega-lite/LICENSE").write_text("One --> two")
    page = plots_template.make_page(packages)
    assert "One --&gt; two" in page
    assert page.count("-->") == 1


def test_same_packages_make_the_same_bytes(packages):
    assert make() == make("--packages", str(packages))


def test_committed_page_is_what_the_tool_makes_of_its_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    versions = dict(re.findall(r"([a-z-]+) (\d+\.\d+\.\d+),", PAGE))
    scripts = dict(
        zip(versions, re.findall(r"<script>(.*?)</script>", PAGE, re.DOTALL), strict=True)
    )
    notes = re.findall(r"^== ([^\n]+) ==\n\n(.*?)(?=\n\n== |\n-->)", PAGE, re.DOTALL | re.MULTILINE)
    licenses = {name: text for names, text in notes for name in names.split(", ")}
    sources = [f"../../{name}/src/x.js" for name in licenses]
    for name, text in licenses.items():
        script = scripts.get(name, "")
        add_package(tmp_path / "packages", name, versions.get(name, ""), script, sources, text)
    assert make("--packages", "packages") == PAGE.encode()


def test_committed_page_holds_the_notices_of_bundled_packages():
    for notice in (
        "Copyright (c) 2015-2023, University of Washington Interactive Data Lab",
        "Mike Bostock",
        "Redistributions in binary form must reproduce the above copyright notice,",
    ):
        assert notice in PAGE


@pytest.mark.parametrize("missing", ["vega/package.json", "vega-lite/build/vega-lite.min.js"])
def test_missing_package_is_reported(packages, missing):
    (packages / missing).unlink()
    with pytest.raises(UserError) as caught:
        plots_template.make_page(packages)
    sentence = (
        f"{packages / missing} cannot be read; `make plots-template` installs the packages again."
    )
    assert str(caught.value) == sentence


def test_corrupted_package_is_reported(packages):
    (packages / "vega/package.json").write_text("{")
    with pytest.raises(UserError, match="vega/package.json is corrupted; `make plots-template` "):
        plots_template.make_page(packages)


def test_package_of_another_version_is_rejected(packages):
    (packages / "vega-lite/package.json").write_text('{"version": "6.0.0"}')
    with pytest.raises(UserError, match="vega-lite must be of version 5, .*; got 6.0.0 in "):
        plots_template.make_page(packages)


def test_package_without_a_license_is_rejected(packages):
    (packages / "part/LICENSE").unlink()
    with pytest.raises(UserError, match="part has no license file, which the page must include"):
        plots_template.make_page(packages)


@pytest.mark.parametrize("placeholder", ["{scripts}", "{plot_divs}", "{refresh_tag}"])
def test_script_that_dvc_would_change_is_rejected(packages, placeholder):
    (packages / "vega/build/vega.min.js").write_text(f"var x = `${placeholder}`;")
    with pytest.raises(
        UserError, match=f"contains the text {placeholder}, which DVC would replace"
    ):
        plots_template.make_page(packages)


def test_failed_run_leaves_the_page_as_it_was(packages):
    before = make()
    (packages / "vega/package.json").unlink()
    with pytest.raises(UserError):
        make()
    assert Path(plots_template.TEMPLATE).read_bytes() == before
