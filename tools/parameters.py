"""Write docs/parameters.md: every key of params.yaml, what it means and what is allowed.

    python -m tools.parameters [--check]

The meanings are the comments in params.yaml; what is allowed is declared in stages/core/. Values
are not shown, so the page does not depend on them. With --check nothing is written, and a page that
is not up to date is an error.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stages.core.errors import UserError
from stages.core.files import require_file
from stages.core.optimizers import OPTIMIZERS, OptimizerParams
from stages.core.params import FILE
from stages.core.schema import STAGES
from stages.shared.metrics import write_text
from tools.cli import make_parser, run
from tools.text_tables import format_table

PAGE = "docs/parameters.md"
TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.optim."
INTRODUCTION = """# Parameters

<!-- Written by `python -m tools.parameters`; do not edit. -->

Every key of [params.yaml](../params.yaml), which has the values. *study*: change it and see what
happens. *fixed*: part of the setup; change it only if you know why. Invalid values are rejected
immediately, before any work is done."""
OPTIMIZERS_TEXT = """## Optimizers

Both `optimizer` sections take the `name` of a class of
[torch.optim](https://docs.pytorch.org/docs/stable/optim.html), `lr`, and any of the arguments
below. An argument that is not given keeps torch's default."""
COMMENT = re.compile(r"""\s*(?:'[^']*'|"[^"]*"|.*?)\s+# (.*)""")  # behind a value, or behind none
HEAD = ("key", "kind", "meaning", "allowed")

Fields = Mapping[str, FieldInfo]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("parameters", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    check = parser.parse_args(arguments).check
    require_file(FILE)
    page = make_page(Path(FILE).read_text(encoding="utf-8"))
    if not check:
        write_text(PAGE, page)
        print(f"parameters: {PAGE}")
    elif not Path(PAGE).is_file() or Path(PAGE).read_text(encoding="utf-8") != page:
        raise UserError(f"{PAGE} is not up to date; run `python -m tools.parameters`.")


def make_page(params_yaml: str) -> str:
    """Return the page for params.yaml, of which only the comments are read."""
    comments = read_comments(params_yaml)
    fields = {key: field for stage in STAGES.values() for key, field in stage.model_fields.items()}
    parts = [INTRODUCTION, *sections("", fields, comments)]
    parts += [OPTIMIZERS_TEXT, optimizers_table(), arguments_table()]
    return "\n\n".join(parts) + "\n"


def read_comments(params_yaml: str) -> dict[str, str]:
    """Return the comment behind each key, the key with its sections joined by dots."""
    comments: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in params_yaml.splitlines():
        key, colon, rest = line.partition(":")
        name, indent = key.strip(), len(key) - len(key.lstrip())
        if not colon or not name.isidentifier():
            continue
        path = [(depth, parent) for depth, parent in path if depth < indent] + [(indent, name)]
        if match := COMMENT.match(rest):
            comments[".".join(parent for _, parent in path)] = match[1]
    return comments


def sections(prefix: str, fields: Fields, comments: Mapping[str, str]) -> Iterator[str]:
    """Yield heading, comment and table of a section, and then of the sections in it."""
    rows: list[tuple[str, ...]] = []
    nested: list[tuple[str, Fields]] = []
    for name, field in fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            nested.append((f"{prefix}{name}.", field.annotation.model_fields))
        elif name == "optimizer":
            lr = OptimizerParams.model_fields["lr"].description
            rows.append(make_row(prefix, "optimizer.name", "an [optimizer](#optimizers)", comments))
            rows.append(make_row(prefix, "optimizer.lr", lr, comments))
        else:
            rows.append(make_row(prefix, name, field.description, comments))
    section = prefix.removesuffix(".")
    if section and (rows or section in comments):
        yield f"## {section}"
    if section in comments:
        yield f"> {comments[section]}"
    if rows:
        yield format_table(HEAD, rows, markdown=True)
    for path, inner in nested:
        yield from sections(path, inner, comments)


def make_row(
    prefix: str, key: str, allowed: str | None, comments: Mapping[str, str]
) -> tuple[str, ...]:
    """Return a row of a section's table, as HEAD names its cells."""
    kind, _, meaning = comments.get(f"{prefix}{key}", "").partition(". ")
    return f"`{key}`", kind, meaning, allowed or ""


def own_arguments(optimizer: type[OptimizerParams]) -> dict[str, str]:
    """Return what an optimizer takes beside what all take: argument and what is allowed."""
    return {
        name: field.description or ""
        for name, field in optimizer.model_fields.items()
        if name not in OptimizerParams.model_fields
    }


def optimizers_table() -> str:
    """Return the table of optimizers and their arguments."""
    rows = [
        (f"[{name}]({TORCH}{name}.html)", ", ".join(f"`{key}`" for key in own_arguments(model)))
        for name, model in OPTIMIZERS.items()
    ]
    return format_table(("optimizer", "arguments"), rows, markdown=True)


def arguments_table() -> str:
    """Return the table of arguments; one with two meanings has two rows."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, model in OPTIMIZERS.items():
        for item in own_arguments(model).items():
            users.setdefault(item, []).append(name)
    rows = [
        (f"`{key}`", allowed, ", ".join(names)) for (key, allowed), names in sorted(users.items())
    ]
    return format_table(("argument", "allowed", "optimizers"), rows, markdown=True)


if __name__ == "__main__":
    run(main)
