"""The docs: their size, their links, the Python of the walkthrough, the layout they describe."""

import doctest
import re
from pathlib import Path

import pytest

from conftest import PROJECT, call_stage, run
from stages.core.errors import UserError
from stages.core.schema import STAGES
from tools import docs

TRACKED = run("git", "ls-files", "-co", "--exclude-standard", cwd=PROJECT).stdout.splitlines()
PAGES = sorted(name for name in TRACKED if name.endswith(".md"))
TEXT = {page: (PROJECT / page).read_text(encoding="utf-8") for page in PAGES}
QUESTIONS = (
    "walkthrough",
    "experiments",
    "comparing",
    "your-data",
    "results",
    "parameters",
    "training",
    "reproducibility",
    "performance",
)


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", without_code(text), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", without_code(TEXT[page]))


def test_readme_is_short():
    assert len(TEXT["README.md"].splitlines()) <= 170
    assert len(TEXT["README.md"].encode()) <= 10_000


def test_every_question_has_its_page_and_the_readme_links_to_it():
    for question in QUESTIONS:
        assert f"docs/{question}.md" in links("README.md")
    found = {Path(page).stem for page in PAGES if page.startswith("docs/")}
    assert found == set(QUESTIONS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (PROJECT / page).parent / path if path else PROJECT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:stages|tools|tests|docs)/[\w./-]*)`", without_code(TEXT[page])):
        if "my_stage" not in name:
            assert (PROJECT / name).exists(), name


@pytest.fixture
def article_data(article):
    """Work in a folder where the article's pipeline has run up to the training."""
    for stage in list(STAGES)[:4]:
        call_stage(stage)


def test_walkthrough_shows_what_python_prints(article_data):
    page = TEXT["docs/walkthrough.md"]
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    test = parser.get_doctest("\n".join(blocks), {}, "docs/walkthrough.md", None, 0)
    assert len(test.examples) > 60
    printed: list[str] = []
    runner.run(test, out=printed.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(printed)


def test_contributing_lists_every_file_of_the_code():
    code = {
        name
        for name in TRACKED
        if name.startswith(("stages/", "tools/")) and not name.endswith("__init__.py")
        if (PROJECT / name).exists()
    }
    pattern = r"\b((?:stages|tools)/[\w/.]+\.(?:py|jinja|txt))\b"
    listed = set(re.findall(pattern, TEXT["CONTRIBUTING.md"]))
    assert {name for name in listed if not re.search("__init__|my_stage", name)} == code


def test_commands_of_a_page_are_read_with_their_outputs():
    page = "# A\n```console\n$ a \\\n  b\nx\ny\n$ c\n```\n"
    page += "```python\np = 1\n```\n```yaml\nk: 1\n```\nz\n"
    parts = list(docs.parse(page))
    assert "".join(part.text + part.output for part in parts) == page
    scripts = [part.script for part in parts if part.script]
    assert scripts[:3] == ["a \\\n  b", "c", "python - <<'END'\np = 1\nEND"]
    assert "k: 1" in scripts[3]
    assert [part.output for part in parts if part.output] == ["x\ny\n"]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "b\na\n", True),
        ("a\n", "b\n", False),
        ("a\n", "", False),
        ("…\nb\n", "x\ny\nb\n", True),
        ("…\n", "", True),
        ("n … objects\n", "n 12 objects\n", True),
        ("n … objects\n", "n 12 things\n", False),
        ("at 1234abc\n", "at 98fe765\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_outputs_match_up_to_what_differs_between_runs(shown, printed, expected):
    assert docs.matches(shown, printed) is expected


def test_output_that_differs_is_reported_and_replaced(tmp_path):
    parts = list(docs.parse("```console\n$ echo two\none\n$ echo ok\nok\n```\n"))
    printed = docs.run_parts(parts, tmp_path)
    assert printed == ["", "two\n", "ok\n", ""]
    (difference,) = docs.compare("p", parts, printed)
    assert "-one\n+two" in difference
    text = "".join(part.text + part.output for part in docs.update(parts, printed))
    assert text == "```console\n$ echo two\ntwo\n$ echo ok\nok\n```\n"


STALE = "```console\n$ echo two\none\n```\n"


@pytest.fixture
def stale_pages(tmp_path, monkeypatch):
    """Work beside pages whose output is stale; return the kinds of clones that pages ran in."""
    monkeypatch.chdir(tmp_path)
    for name in ("p.md", "README.md"):
        Path(name).write_text(STALE)
    clones = (tmp_path / "fresh", tmp_path / "finished")
    for clone in clones:
        clone.mkdir()
        (clone / clone.name).touch()
    monkeypatch.setattr(docs, "make_clones", lambda _: clones)
    kinds, run_parts = [], docs.run_parts

    def spy(parts, clone):
        kinds.append(next(clone.iterdir()).name)
        return run_parts(parts, clone)

    monkeypatch.setattr(docs, "run_parts", spy)
    return kinds


def test_check_reports_and_writes_nothing(stale_pages):
    with pytest.raises(UserError, match=r"^p.md must show what the commands print"):
        docs.main(["--check", "p.md"])
    assert Path("p.md").read_text() == STALE


def test_stale_output_is_updated_without_an_error(stale_pages):
    docs.main(["p.md"])
    assert Path("p.md").read_text() == STALE.replace("one", "two")


def test_readme_runs_in_a_fresh_clone(stale_pages):
    docs.main(["README.md", "p.md"])
    assert stale_pages == ["fresh", "finished"]


@pytest.mark.parametrize("arguments", [["p.md"], ["--check", "p.md"]])
def test_program_that_fails_is_reported(stale_pages, arguments):
    Path("p.md").write_text("```python\n1 / 0\n```\n")
    with pytest.raises(UserError, match="ZeroDivisionError|must show"):
        docs.main(arguments)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [("nope.md", "nope.md is missing"), ("p.md", "ended its shell")],
)
def test_page_that_cannot_be_run_is_reported(stale_pages, page, sentence):
    Path("p.md").write_text("```console\n$ exit 0\n$ echo a\n```\n")
    with pytest.raises(UserError, match=sentence):
        docs.main([page])


@pytest.mark.parametrize("text", ["```console\n$ a\n", "```console\n$ a \\\n"])
def test_block_that_is_never_closed_is_read_to_its_end(text):
    assert "".join(part.text + part.output for part in docs.parse(text)) == text


@pytest.mark.parametrize("page", [*docs.PAGES, "docs/performance.md"])
def test_page_shows_no_traceback_and_its_programs_compile(page):
    assert "Traceback" not in TEXT[page]
    comments = re.findall(r"<!--.*?-->", TEXT[page])
    marks = [mark for mark in comments if re.fullmatch(r"<!-- (bench: [a-z]+|end) -->", mark)]
    assert comments == (marks if page == "docs/performance.md" else [])
    for block in re.findall(r"^```python\n(.*?)^```", TEXT[page], flags=re.DOTALL | re.MULTILINE):
        compile(block, page, "exec")
