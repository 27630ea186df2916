"""Make the page that `dvc plots show` fills, with the drawing library inside: it needs no network.

    python -m tools.plots_template [--packages FOLDER]

FOLDER contains installed npm packages (node_modules). The page, .dvc/plots/page.html, is named in
.dvc/config; it includes the scripts and the licenses of everything in them. The same packages give
the same bytes. `make plots-template` installs the packages and runs this.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.shared.metrics import write_text
from tools.cli import make_parser, run

# Each needs the one before it. DVC's plots are written for vega-lite 5.
PACKAGES = {"vega": "5", "vega-lite": "5", "vega-embed": "6"}
TEMPLATE = ".dvc/plots/page.html"
# What DVC replaces wherever it appears, and how often it may appear in the page.
PLACEHOLDERS = {"{plot_divs}": 1, "{refresh_tag}": 1, "{scripts}": 0}

# A browser looks for the charset in the first 1024 bytes only: before the licenses.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{{refresh_tag}}
<title>Plots</title>
<style>
table {{ border-spacing: 15px; }}
img {{ max-width: 100%; }}
</style>
<!--
Made by `make plots-template`; do not edit. It contains {versions},
and in them the work of others, under these licenses:

{licenses}
-->
{scripts}
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def read(path: Path) -> str:
    """Return the text of a package's file; raise UserError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read; `make plots-template` installs the packages again."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a package's JSON file; raise UserError if it is corrupted."""
    try:
        return json.loads(read(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is corrupted; `make plots-template` installs the packages again."
        ) from error


def version(packages: Path, name: str) -> str:
    """Return a package's version; raise UserError for one that DVC's plots do not support."""
    found = read_json(packages / name / "package.json")["version"]
    if found.partition(".")[0] != PACKAGES[name]:
        raise UserError(
            f"{name} must be of version {PACKAGES[name]}, which DVC's plots are written for; "
            f"got {found} in {packages / name}."
        )
    return found


def script(packages: Path, name: str) -> str:
    """Return a package's script in a form that can be part of a page.

    `</script` would end the element and `<!--` may hide its end; in strings and in patterns \\x3C
    means the same. Source: https://html.spec.whatwg.org/#restrictions-for-contents-of-script-elements
    """
    text = read(packages / f"{name}/build/{name}.min.js")
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE).strip()
    return re.sub(r"<(?=!--|/?script)", r"\\x3C", text, flags=re.IGNORECASE)


def contents(packages: Path, name: str) -> set[str]:
    """Return the names of the packages whose work is in a package's script, by its source map."""
    sources = read_json(packages / f"{name}/build/{name}.min.js.map")["sources"]
    place = re.compile(r"(?:.*node_modules/|(?:\.\./)+)((?:@[^/]+/)?[^/]+)/")
    matches = filter(None, map(place.match, sources))
    return {name} | {match[1] for match in matches if match[1] != "src"}


def license_text(folder: Path) -> str:
    """Return the text of a package's license file, empty if it has none."""
    files = sorted(path for path in folder.iterdir() if re.match("(?i)licen[cs]e", path.name))
    lines = read(files[0]).splitlines() if files else []
    return "\n".join(line.rstrip() for line in lines).strip()


def format_licenses(packages: Path) -> str:
    """Return every license of what the scripts contain, once, below the packages that it covers."""
    names = sorted(set().union(*(contents(packages, name) for name in PACKAGES)))
    about = {name: read_json(packages / name / "package.json") for name in names}
    origins = {name: str(about[name].get("repository")) for name in names}
    texts = {name: license_text(packages / name) for name in names}
    # Packages of one repository have one license, and not every one of them includes the file.
    shared = {origins[name]: text for name, text in texts.items() if text}
    users: dict[str, list[str]] = {}
    for name in names:
        text = texts[name] or shared.get(origins[name])
        if not text:
            raise UserError(
                f"{packages / name} has no license file, which the page must include: "
                "install a version that has one."
            )
        users.setdefault(text, []).append(name)
    parts = [f"== {', '.join(names)} ==\n\n{text}" for text, names in users.items()]
    return "\n\n".join(parts).replace("-->", "--&gt;")


def make_page(packages: Path) -> str:
    """Return the page; raise UserError if a package is missing or breaks it."""
    versions = [f"{name} {version(packages, name)}" for name in PACKAGES]
    page = PAGE.format(
        versions=", ".join(versions),
        licenses=format_licenses(packages),
        scripts="\n".join(f"<script>{script(packages, name)}</script>" for name in PACKAGES),
    )
    for placeholder, times in PLACEHOLDERS.items():
        if page.count(placeholder) != times:
            raise UserError(
                f"{packages} contains the text {placeholder}, which DVC would replace: "
                "install another version."
            )
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = make_parser("plots_template", __doc__)
    parser.add_argument(
        "--packages", type=Path, default="node_modules", help="default: node_modules"
    )
    page = make_page(parser.parse_args(arguments).packages)
    write_text(TEMPLATE, page)
    print(f"plots_template: {TEMPLATE}, {len(page.encode())} bytes")


if __name__ == "__main__":
    run(main)
