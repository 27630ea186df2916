"""The words: American spelling is codespell's to check, these are the project's own."""

import re

import pytest

from conftest import PROJECT, run

# What not to write, and what to write instead.
BANNED = {
    r"(?<!your )own tables?": "custom table",
    r"facts": "metadata",
    r"(?<!f)law": "ground truth, simulation",
    r"makers?": "(drop)",
    r"(by|more than|pure) luck": "noise",
    r"damaged": "corrupted",
    r"films?": "animation",
    r"held out": "test rows",
    r"no number": "not a number",
    r"stands twice": "appears twice",
    r"is answered": "is rejected",
    r"whole numbers?": "integer",
    r"has arrived|to arrive": "reached the target",
    r"of several": "for several",
    r"at hand": "available",
    r"licen[c]e": "license",
}
LISTED = run("git", "ls-files", "-co", "--exclude-standard", cwd=PROJECT).stdout.splitlines()
FILES = [
    name
    for name in LISTED
    if name.endswith((".py", ".md", ".yaml", ".yml", ".toml", ".jinja", ".cff", "Makefile", "run"))
    and name not in ("tests/test_language.py", "dvc.lock")
    and (PROJECT / name).is_file()
]


@pytest.mark.parametrize("pattern", BANNED)
def test_word_is_not_used(pattern):
    found = []
    for name in FILES:
        text = (PROJECT / name).read_text(encoding="utf-8")
        matches = re.finditer(rf"\b(?:{pattern})(?!\w)", text, flags=re.IGNORECASE)
        found += [f"{name}: {text[match.start() - 20 : match.end() + 20]!r}" for match in matches]
    assert not found, f"write {BANNED[pattern]}"


def test_files_are_checked():
    assert {"README.md", "params.yaml", "Makefile", "stages/evaluate.py"} <= set(FILES)
