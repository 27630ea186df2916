"""A YAML reader that agrees with DVC's."""

import re
from typing import ClassVar

import yaml


class Loader(yaml.SafeLoader):
    """Read YAML so that every number means what DVC takes it for, or is text.

    DVC tracks parameters by YAML 1.2. PyYAML follows YAML 1.1, to which 1e-4 is text, 010 is eight
    and 1:30 is ninety. Here plain decimal numbers are read as DVC reads them, and any other
    spelling (0x1F, 1_000, 1:30) is text, which no number in params.yaml may be. Lists become
    tuples, as the frozen records hold them.

    Source: https://yaml.org/spec/1.2.2/#103-core-schema
    """

    yaml_implicit_resolvers: ClassVar[dict] = {}

    def construct_mapping(self, node, deep=False):
        """Return the mapping; refuse a key that stands twice, as DVC does."""
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                problem="a key of the section that starts here stands twice",
                problem_mark=node.start_mark,
            )
        return mapping


def add_plain_value(tag, pattern, construct):
    """Let unquoted text that matches `pattern` be read by `construct`."""
    Loader.add_implicit_resolver(tag, re.compile(f"(?:{pattern})$"), None)
    Loader.add_constructor(tag, lambda loader, node: construct(loader.construct_scalar(node)))


EXPONENT = r"[eE][-+]?[0-9]+"
add_plain_value("tag:yaml.org,2002:int", r"[-+]?[0-9]+", int)
add_plain_value(
    "tag:yaml.org,2002:float",
    rf"[-+]?[0-9]+(\.[0-9]*)?({EXPONENT})|[-+]?[0-9]+\.[0-9]*|[-+]?\.[0-9]+",
    float,
)
add_plain_value(
    "tag:yaml.org,2002:bool",
    "true|True|TRUE|false|False|FALSE",
    lambda text: text.lower() == "true",
)
add_plain_value("tag:yaml.org,2002:null", "null|Null|NULL|~|", lambda text: None)
Loader.add_constructor(
    "tag:yaml.org,2002:seq", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)
