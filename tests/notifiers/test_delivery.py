"""The state machine of a delivery, and what a receiver is owed: one row a rule."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.notifiers.delivery import (
    NEWER,
    OVER_BEFORE_TOLD,
    POLICY,
    Decision,
    Known,
    Progress,
    State,
    Step,
    backoff,
    next_state,
    on_resolve,
    on_trigger,
)
from tocsin.notifiers.outcomes import Delivered, Later, Outcome, Refused, Unknown, retry_after
from tocsin.notifiers.view import Action

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FRESH = Progress(tries=1, since=NOW)
TIRED = Progress(tries=40, since=NOW - POLICY.give_up)
HALF = 0.5


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("progress", "outcome", "state", "wait", "minimal", "maybe_told", "frozen"),
    [
        pytest.param(FRESH, Delivered({"ts": "1"}), "delivered", s(0), False, True, None, id="delivered"),
        pytest.param(FRESH, Later(None, "500"), "pending", s(0.5), False, False, None, id="later: backoff"),
        pytest.param(FRESH, Later(s(3), "429"), "pending", s(3), False, False, s(3), id="later: as long as it asks"),
        pytest.param(
            Progress(tries=6, since=NOW),
            Later(s(3), "429"),
            "pending",
            s(16),
            False,
            False,
            s(3),
            id="the longer of both",
        ),
        pytest.param(TIRED, Later(None, "500"), "dead", s(300), False, False, None, id="72 h of trying is the end"),
        pytest.param(FRESH, Refused("bad", True), "pending", s(0), True, False, None, id="refused: minimal, at once"),
        pytest.param(
            Progress(tries=2, since=NOW, minimal=True),
            Refused("bad", True),
            "dead",
            s(0),
            True,
            False,
            None,
            id="refused twice",
        ),
        pytest.param(FRESH, Refused("gone"), "dead", s(0), False, False, None, id="refused for good"),
        pytest.param(FRESH, Unknown("reset"), "unknown", s(0.5), False, True, None, id="unknown: it may be there"),
        pytest.param(TIRED, Unknown("reset"), "dead", s(300), False, True, None, id="unknown for 72 h is the end"),
        pytest.param(
            Progress(tries=1, since=NOW, overtaken=True),
            Later(s(9), "429"),
            "superseded",
            s(9),
            False,
            False,
            s(9),
            id="later, and something newer waits: the receiver still is left alone",
        ),
        pytest.param(
            Progress(tries=1, since=NOW, overtaken=True),
            Unknown("reset"),
            "superseded",
            s(0.5),
            False,
            True,
            None,
            id="unknown, and something newer waits: it may have been told",
        ),
        pytest.param(
            Progress(tries=1, since=NOW, overtaken=True),
            Refused("gone"),
            "superseded",
            s(0),
            False,
            False,
            None,
            id="refused, and something newer waits",
        ),
        pytest.param(
            Progress(tries=1, since=NOW, overtaken=True),
            Delivered(),
            "delivered",
            s(0),
            False,
            True,
            None,
            id="delivered is delivered, newer or not",
        ),
    ],
)
def test_an_attempt_leads_to_the_next_state(
    progress: Progress,
    outcome: Outcome,
    state: State,
    wait: timedelta,
    minimal: bool,
    maybe_told: bool,
    frozen: timedelta | None,
) -> None:
    step = next_state(progress, outcome, NOW, HALF)
    reason = None if isinstance(outcome, Delivered) else outcome.reason
    handle = outcome.handle if isinstance(outcome, Delivered) else None
    not_before = NOW + frozen if frozen else None
    assert step == Step(state, NOW + wait, minimal, maybe_told, reason, not_before, handle)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_backoff_stays_between_nothing_and_its_ceiling(tries: int, jitter: float) -> None:
    assert timedelta(0) <= backoff(tries, jitter) <= POLICY.ceiling
    assert backoff(tries, 1.0) <= backoff(tries + 1, 1.0) <= POLICY.ceiling


def known(*rows: tuple[Action, State]) -> list[Known]:
    """Rows by action and state; a state with `?` may have been told."""
    return [
        Known(number, action, state, state in ("delivered", "unknown"))
        for number, (action, state) in enumerate(rows, start=1)
    ]


@pytest.mark.parametrize(
    ("rows", "updates", "decision"),
    [
        pytest.param([], True, Decision("trigger"), id="the first word"),
        pytest.param(
            [("trigger", "pending")], True, Decision("trigger", supersede=(1,)), id="nothing told yet: newest first"
        ),
        pytest.param(
            [("trigger", "pending")], False, Decision("trigger", supersede=(1,)), id="that holds for pagers too"
        ),
        pytest.param([("trigger", "delivered")], True, Decision("update"), id="told, and it can be updated"),
        pytest.param([("trigger", "delivered")], False, Decision(), id="told, and a pager is not paged twice"),
        pytest.param([("trigger", "sending")], False, Decision(), id="being told counts as told"),
        pytest.param([("trigger", "sending")], True, Decision("update"), id="an update waits behind what is under way"),
        pytest.param(
            [("trigger", "delivered"), ("update", "pending")],
            True,
            Decision("update", supersede=(2,)),
            id="newest update only",
        ),
        pytest.param([("trigger", "dead")], True, Decision("trigger"), id="a dead trigger told nobody"),
        pytest.param([("trigger", "unknown")], True, Decision("update", supersede=(1,)), id="perhaps told: update"),
    ],
)
def test_a_further_trigger(rows: list[tuple[Action, State]], updates: bool, decision: Decision) -> None:
    assert on_trigger(known(*rows), updates) == decision


OVER = OVER_BEFORE_TOLD


@pytest.mark.parametrize(
    ("rows", "decision"),
    [
        pytest.param([("trigger", "delivered")], Decision("resolve"), id="a trigger told is a resolve owed"),
        pytest.param([("trigger", "sending")], Decision("resolve"), id="being told counts as told"),
        pytest.param([("trigger", "unknown")], Decision("resolve", supersede=(1,)), id="perhaps told counts as told"),
        pytest.param(
            [("trigger", "delivered"), ("update", "pending")],
            Decision("resolve", supersede=(2,)),
            id="the update is old news",
        ),
        pytest.param([("trigger", "pending")], Decision("resolve", "superseded", (1,), OVER), id="over before told"),
        pytest.param([("trigger", "dead")], Decision("resolve", "superseded", (), OVER), id="never told"),
    ],
)
def test_a_resolve(rows: list[tuple[Action, State]], decision: Decision) -> None:
    assert on_resolve(known(*rows)) == decision
    assert decision.reason in (NEWER, OVER)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        pytest.param({"Retry-After": "30"}, s(30), id="seconds"),
        pytest.param({"retry-after": " 1.5 "}, s(1.5), id="a fraction, any case"),
        pytest.param({"Retry-After": "0"}, s(0), id="none"),
        pytest.param({"Retry-After": "Mon, 02 Mar 2026 09:00:20 GMT"}, s(20), id="a date"),
        pytest.param({"Retry-After": "Mon, 02 Mar 2026 08:00:00 GMT"}, s(0), id="a date that is past"),
        pytest.param({"Retry-After": "999999999999999999999"}, timedelta(hours=24), id="for ever is a day"),
        pytest.param({"Retry-After": "soon"}, None, id="a word"),
        pytest.param({"Retry-After": "-5"}, None, id="negative"),
        pytest.param({"Retry-After": "nan"}, None, id="not a number"),
        pytest.param({}, None, id="no header"),
    ],
)
def test_retry_after_is_read_as_it_is_written(header: dict[str, str], wait: timedelta | None) -> None:
    assert retry_after(header, NOW) == wait
