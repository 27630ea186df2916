"""Reading params.yaml, and the one sentence that rejects an invalid value."""

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.core.errors import UserError
from stages.core.optimizers import OPTIMIZERS
from stages.core.schema import StageParams

FILE = "params.yaml"

Params = TypeVar("Params", bound=StageParams)


def read_params(model: type[Params]) -> Params:
    """Return `model` filled from params.yaml.

    Raises UserError, in one sentence, for a file that is missing or not YAML, and for the first key
    that is missing, unknown or invalid.
    """
    content = load_yaml()
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # An unknown key first: next to a missing one it is the typo that explains both.
        unknown = ("extra_forbidden", "invalid_key")
        errors = sorted(error.errors(), key=lambda item: item["type"] not in unknown)
        raise UserError(error_message(dict(errors[0]), model, content)) from None


def load_yaml() -> dict[str, Any]:
    """Return the content of params.yaml with its lists as tuples.

    DVC reads the file with the same call, so both interpret every value the same way.
    """
    try:
        content = to_tuples(YAML(typ="safe").load(Path(FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{FILE} is missing; run this from the project's root folder.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{FILE} must be UTF-8 text; byte {error.start} is not.") from None
    except MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = str(error.problem).partition("\n")[0]
        if problem.startswith("but "):
            problem = f"{error.context}, {problem}"
        raise UserError(f"{FILE} must be valid YAML; {where}{problem}.") from None
    except (YAMLError, ValueError, LookupError, RecursionError) as error:
        # ValueError is that of a date such as 2001-99-99, LookupError that of `!!bool x`.
        raise UserError(f"{FILE} must be valid YAML; {str(error).splitlines()[0]}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{FILE} must contain sections with keys; got {format_value(content)}.")
    return content


def to_tuples(value: Any) -> Any:
    """Return `value` with every list in it, however deep, as a tuple."""
    if isinstance(value, dict):
        return {key: to_tuples(item) for key, item in value.items()}
    return tuple(map(to_tuples, value)) if isinstance(value, list) else value


def error_message(error: dict[str, Any], model: type[BaseModel], content: dict[str, Any]) -> str:
    """Return one sentence for a pydantic error: the key, what is allowed, what was given."""
    section, path = model, list[str]()
    given: Any = content
    allowed = ""
    for key in error["loc"]:
        if path[-1:] == ["optimizer"] and section not in OPTIMIZERS.values():
            section = OPTIMIZERS[key]  # pydantic inserts the name after the key `optimizer`
            continue
        path.append(str(key))
        if key not in section.model_fields:
            return unknown_key(path, list(section.model_fields))
        field = section.model_fields[key]
        given = given.get(key) if isinstance(given, dict) else None
        allowed = field.description or "a section of keys and values"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = field.annotation
        elif key != "optimizer":
            break  # the rest of `loc` points into a list
    missing = error["type"] == "missing" and path[-1] == error["loc"][-1]
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path.append("name")
        given = given.get("name") if isinstance(given, dict) else None
        allowed = "one of {" + ", ".join(OPTIMIZERS) + "}"
        missing = error["type"] == "union_tag_not_found"
    elif error["type"] == "invalid":
        allowed = error["ctx"]["allowed"]
    name = ".".join(path)
    if missing:
        return f"{FILE}: {name} is missing; it must be {allowed}."
    return f"{FILE}: {name} must be {allowed}; got {format_value(given)}." + suggest(given, allowed)


def unknown_key(path: list[str], known: list[str]) -> str:
    """Return the sentence for a key that no stage reads."""
    *parents, key = path
    section = ".".join(parents)
    sentence = f"{FILE}: {'.'.join(path)} is not a parameter; {section} has {', '.join(known)}."
    return sentence + did_you_mean(key, known)


def suggest(given: Any, allowed: str) -> str:
    """Return advice on an invalid value, or nothing."""
    if "column name" in allowed:
        names = given if isinstance(given, tuple) else (given,)
        if numbers := [name for name in names if isinstance(name, int | float)]:
            return f" Put the name in quotation marks: '{numbers[0]}'."
    if not isinstance(given, str):
        return ""
    if "integer" in allowed and re.search("[0-9]", given):
        return " Write it as a plain integer, such as 10, without quotes."
    if "number" in allowed and re.search("[0-9]", given):
        return " Write it as a plain decimal number, such as 10, 0.1 or 1e-4, without quotes."
    return did_you_mean(given, re.findall(r"\w+", allowed.partition("{")[2]))


def did_you_mean(given: str, choices: list[str]) -> str:
    """Return the question whether the closest of `choices` was meant, or nothing."""
    close = difflib.get_close_matches(given.lower(), [choice.lower() for choice in choices], n=1)
    return "".join(f" Did you mean '{choice}'?" for choice in choices if [choice.lower()] == close)


def shorten(names: Sequence[object], n_most: int = 10) -> str:
    """Return the first names as one text, each one truncated, and how many more there are."""
    shown = ", ".join(truncate(str(name)) or "(no name)" for name in names[:n_most])
    return f"{shown} and {len(names) - n_most} more" if len(names) > n_most else shown


def truncate(name: str) -> str:
    """Return a name of any length as it appears in a sentence."""
    return name if len(name) <= 60 else f"{name[:57]}..."


def format_value(value: Any) -> str:
    """Return `value` as it would appear in params.yaml, in single quotes if it is text."""
    return json.dumps(value, default=str, ensure_ascii=False).replace('"', "'")
