"""`tocsin automation explain`: why an automation fired on an event, or did not."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from tocsin.automations.explain import Acted, Explanation, Fired, explain
from tocsin.automations.why import Condition
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, cell, plain, print_json


def run(
    name: Annotated[str, Parameter(help="Which automation.")],
    /,
    *,
    event: Annotated[UUID, Parameter(help="The event's id; `tocsin event ls` lists the newest.")],
    output: Output = "table",
) -> None:
    """Say why an automation fired on an event, or did not: each condition with what it saw, and what is on record."""
    with opened() as store, store.read() as session:
        found = explain(session, name, event)
    if output == "json":
        print_json(found)
        return
    for line in lines(found):
        print(plain(line))


def lines(found: Explanation) -> Iterator[str]:
    """An explanation as lines for people."""
    yield f"{found.automation}: {found.answer}"
    yield f"  on {found.event} of {found.resource}, {cell(found.occurred)}, received {cell(found.received)}"
    yield from (f"  note: {note}" for note in found.notes)
    for condition in found.conditions:
        yield from _condition(condition)
    for evaluation in found.evaluations:
        yield f"  {cell(evaluation.at)} key {cell(evaluation.key) or '[]'}: {evaluation.said}"
    for firing in found.firings:
        yield from _fired(firing, "")
    if found.followed_by is not None:
        yield from _fired(found.followed_by, "then: ")


def _fired(firing: Fired, word: str) -> Iterator[str]:
    about = f"count {firing.count}, {cell(firing.labels) or 'no labels'}{', late' if firing.late else ''}"
    yield f"  {word}{firing.state} at {cell(firing.at)}, {about}"
    for one in firing.invocations:
        yield from _acted(one)


def _condition(condition: Condition) -> Iterator[str]:
    yield f"  {condition.trigger}: {'matches' if condition.matched else 'does not match'}"
    for check in condition.checks:
        yield f"    {'ok' if check.held else 'no'}  {check.about}: wanted {check.wanted}, saw {check.saw}"


def _acted(one: Acted) -> Iterator[str]:
    yield f"    {one.action}: {one.state}{f', {one.reason}' if one.reason else ''}"
    for attempt in one.attempts:
        at, outcome, reason = (attempt.get(name) or "" for name in ("at", "outcome", "reason"))
        yield f"      {cell(datetime.fromisoformat(at)) if at else ''}  {outcome}{f': {reason}' if reason else ''}"
