"""Schedules in one line, as people write them."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.events.errors import Invalid
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable
from tocsin.triggers.written import written

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 * * MON-FRI", Cron("0 9 * * MON-FRI", timezone=BERLIN)),
        (" @daily ", Cron("@daily", timezone=BERLIN)),
        ("90s", Interval(timedelta(seconds=90), timezone=BERLIN)),
        ("1d12h", Interval(timedelta(hours=36), timezone=BERLIN)),
        ("every 15 m", Interval(timedelta(minutes=15), timezone=BERLIN)),
        ("Every 2W", Interval(timedelta(weeks=2), timezone=BERLIN)),
        ('{"interval": 60, "jitter": 5}', Interval(timedelta(minutes=1), timezone=BERLIN, jitter=timedelta(seconds=5))),
        ('{"cron": "@daily", "timezone": "Europe/Berlin"}', Cron("@daily", timezone=BERLIN)),
        (
            r"DTSTART:20260101T090000\nRRULE:FREQ=DAILY",
            RRule("DTSTART:20260101T090000\nRRULE:FREQ=DAILY", timezone=BERLIN),
        ),
    ],
)
def test_a_line_says_a_schedule(text: str, expected: Timetable) -> None:
    assert written(text, timezone=BERLIN) == expected


@pytest.mark.parametrize("text", ["nightly", "nightly-2", "a:b/c", "15", "15x", "h"])
def test_a_word_is_no_schedule(text: str) -> None:
    assert written(text) is None


def test_a_rule_without_dtstart_begins_at_start_and_no_other_schedule_does() -> None:
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert written("freq=weekly", start=start) == RRule("freq=weekly", start=start)
    assert written("DTSTART:20260101T090000\nRRULE:FREQ=DAILY", start=start) == RRule(
        "DTSTART:20260101T090000\nRRULE:FREQ=DAILY"
    )
    assert written("@daily", start=start) == Cron("@daily")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 9 * *", "4 fields"),
        ("", "0 fields"),
        ("every day", "2 fields"),
        ("@often", "unknown; known"),
        ("{", "this JSON cannot be read"),
        ("* " * 9_000, "at most 500 characters"),
        ("{" + '"a":{' * 2_000, "this JSON cannot be read"),
        ('{"cron": "61 * * * *"}', "minute: 61"),
        ("0s", "not between one second"),
        ("999999999w", "is too long"),
        ("FREQ=DAILY", "no DTSTART"),
        ('{"cron": "@daily", "timezone": "UTC"}', "leave one of them out"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        written(text, timezone=BERLIN)
