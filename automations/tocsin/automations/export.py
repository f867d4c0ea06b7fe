"""Definitions written out, so that reading them back gives the same ones: as YAML, JSON or Python.

A secret is written as its mask; `apply` reads the mask as "keep what is stored".
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, assert_never

import yaml

from tocsin.automations.forms import written
from tocsin.automations.model import Automation
from tocsin.automations.pythontext import python_text
from tocsin.automations.yamltext import RESOLVERS

Format = Literal["yaml", "json", "python"]

_WIDTH: Final = 120


def export(automations: Sequence[Automation], form: Format = "yaml") -> str:
    """The automations as a file that `tocsin automation apply` reads; what says the default is left out."""
    match form:
        case "yaml":
            return _yaml(_document(automations))
        case "json":
            return json.dumps(_document(automations), indent=2, ensure_ascii=False) + "\n"
        case "python":
            return python_text(automations)
        case _ as never:
            assert_never(never)


def _document(automations: Sequence[Automation]) -> dict[str, Any]:  # Any: JSON
    return {"automations": [written(one) for one in automations]}


def _yaml(document: dict[str, Any]) -> str:  # Any: JSON
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what our reader or anybody else's would take for a number, and never writes anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # lists stand in from their key


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


def _style(text: str) -> str | None:
    """Several lines stand as they are; signs that a reader of YAML takes for line ends are written as escapes."""
    if not text.replace("\n", "").isprintable():
        return '"'
    return "|" if "\n" in text else None


_Dumper.add_representer(str, _text)
for _tag, _expression, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _expression, _first)
