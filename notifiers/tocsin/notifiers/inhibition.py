"""Inhibitions: while one thing fires, nothing is said of what follows from it. Alertmanager's rules.

A label that is missing equals one that is missing, and one that is empty. An alert that fits both sides is not kept
quiet by others that do, so none keeps itself quiet.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import Name
from tocsin.notifiers.matchers import Matcher, matches, read_matchers
from tocsin.notifiers.route import Labels, Texts


class Inhibition(BaseModel):
    """While an alert that fits `source` fires, those that fit `target` are kept quiet, where the labels `equal` agree.

    `Inhibition(name="node-down", source='alertname="NodeDown"', target='severity="warning"', equal=["node"])`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    source: Annotated[Texts, Field(min_length=1)]
    target: Annotated[Texts, Field(min_length=1)]
    equal: Labels = ()

    @field_validator("source", "target")
    @classmethod
    def _are_matchers(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            found = read_matchers(texts)
        except Invalid as error:
            raise ValueError(str(error)) from error
        if not found:
            raise ValueError('give a matcher, such as alertname="NodeDown"')
        return texts

    def rule(self) -> "Rule":
        """The inhibition made ready."""
        return Rule(self.name, read_matchers(self.source), read_matchers(self.target), self.equal)


@dataclass(frozen=True, slots=True)
class Rule:
    """An inhibition made ready."""

    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """That an alert fires which keeps others quiet: by which rule, at which values of `equal`; `both` that it is, at
    the same time, one of those that are to be quiet."""

    rule: str
    key: str
    both: bool


def holds_of(rules: Iterable[Rule], labels: Mapping[str, str]) -> list[Hold]:
    """What an alert with these labels holds while it fires."""
    return [
        Hold(rule.name, key_of(rule, labels), matches(rule.target, labels))
        for rule in rules
        if matches(rule.source, labels)
    ]


def inhibited(rules: Sequence[Rule], held: frozenset[Hold], labels: Mapping[str, str]) -> Rule | None:
    """The rule that keeps an alert with these labels quiet while this is `held`."""
    for rule in rules:
        if matches(rule.target, labels):
            key = key_of(rule, labels)
            if Hold(rule.name, key, False) in held:
                return rule
            if Hold(rule.name, key, True) in held and not matches(rule.source, labels):
                return rule
    return None


def key_of(rule: Rule, labels: Mapping[str, str]) -> str:
    """The values that must be equal, as one text."""
    return json.dumps([labels.get(name, "") for name in rule.equal], separators=(",", ":"))
