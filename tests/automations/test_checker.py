"""The checker sees what is wrong."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from tests.automations.checker import Report, check, log_of
from tests.automations.parts import START, a_clock, decided, define, happened, rule
from tocsin.automations.tables import StoredFiring, StoredInvocation, Tally
from tocsin.events.clock import ManualClock, micros
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID
from tocsin.store.engine import Store

EACH = rule("each", {"type": "do-nothing"}, trigger={"expect": ["x"]})
SILENT = rule("silent", trigger={"posture": "Proactive", "expect": ["x"], "for_each": [RESOURCE_ID], "within": 30})
RULES = [EACH, SILENT]
SILENCES = update(StoredFiring).where(col(StoredFiring.automation) == "silent")
BEGUN, UNTIL = micros(START), micros(START) + 60_000_000


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """Two events, and the silence that came after them, as they should be."""
    opened, clock = Store.open(sqlite_url), a_clock()
    define(opened, *RULES)
    await decided(opened, clock, happened("x", number=1), happened("x", "other", number=2))
    clock.set(START + timedelta(seconds=30, milliseconds=20))
    await _time_passes(opened, clock)
    with opened.begin() as session:
        session.connection().execute(update(StoredInvocation).values(state="done"))
    yield opened
    opened.close()


async def _time_passes(store: Store, clock: ManualClock) -> None:
    await decided(store, clock, happened("y", number=3))


def said(store: Store, effects: dict[str, Counter[str]] | None = None) -> Report:
    up = [(BEGUN, UNTIL)]
    return check(store, RULES, log_of(store), begun=BEGUN, until=UNTIL, up=up, effects=effects)


def test_all_is_well(store: Store) -> None:
    report = said(store)
    assert report.wrong == {}
    assert {name: line.found for name, line in report.lines.items()} == {"each": 2, "silent": 2}
    assert 0 < report.lines["silent"].latest_ms < 100


def _lose(session: Session) -> None:
    one = session.exec(select(StoredFiring).where(StoredFiring.automation == "silent")).first()
    session.delete(one)


def _invent(session: Session) -> None:
    session.add(_again(session, "silent", at=START + timedelta(seconds=99)))


def _repeat(session: Session) -> None:
    session.add(_again(session, "each"))


def _alter(session: Session) -> None:
    session.connection().execute(SILENCES.values(count=7))


def _delay(session: Session) -> None:
    later = START + timedelta(seconds=31)
    session.connection().execute(SILENCES.values(recorded=later))


def _undo(session: Session) -> None:
    session.connection().execute(delete(StoredInvocation))


def _pass_over(session: Session) -> None:
    session.connection().execute(update(Tally).values(concerned=Tally.concerned + 1))


def _again(session: Session, name: str, **more: object) -> StoredFiring:
    """The first firing of an automation once more, under another id."""
    one = session.exec(select(StoredFiring).where(StoredFiring.automation == name)).first()
    assert one is not None
    return StoredFiring(**{**one.model_dump(), "id": uuid7(), **more})


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (_lose, {"lost": 1}),
        (_invent, {"invented": 1}),
        (_repeat, {"invented": 1, "duplicate": 1}),
        (_alter, {"different": 2}),
        (_delay, {"late": 2}),
        (_undo, {"actions": 2}),
        (_pass_over, {"unevaluated": 1}),
    ],
)
def test_what_is_wrong_is_said(store: Store, spoil: Callable[[Session], None], seen: dict[str, int]) -> None:
    with store.begin() as session:
        spoil(session)
    assert said(store).wrong == seen


def test_one_effect_under_two_ids_is_said(store: Store) -> None:
    effects = {"{}": Counter({"a": 2, "b": 1}), "[]": Counter({"c": 2})}
    report = said(store, effects)
    assert (report.wrong, report.repeated_effects) == ({"foreign_effects": 1}, 3)
