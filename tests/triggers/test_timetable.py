"""What holds for schedules of every kind: order, bounds, resuming, JSON, preview, and a bound on the work."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.triggers.preview import preview
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable, from_dict

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia"]
LINES = [
    "*/7 * * * *",
    "30 2 * * *",
    "0,30 0-3 * * 1-5",
    "0 0 * * *",
    "15 */2 L * *",
    "*/20 30 2 * * *",
    "0 12 29 2 *",
    "45 1,2 1W * FRI#1",
]
RULES = [
    "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=0,30",
    "FREQ=MINUTELY;INTERVAL=17",
    "FREQ=HOURLY;COUNT=400",
    "FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1",
    "FREQ=SECONDLY;INTERVAL=1111;UNTIL=20120601T000000Z",
    "FREQ=YEARLY;BYWEEKNO=1,-1;BYDAY=MO",
    "FREQ=DAILY;UNTIL=20121231\nRDATE:20110327T023000,20110401T000000\nEXDATE;VALUE=DATE:20110328",
]
WALLS = st.datetimes(datetime(2009, 1, 1), datetime(2013, 1, 1)).map(lambda wall: wall.replace(microsecond=0))  # noqa: DTZ001
INSTANTS = WALLS.map(lambda wall: wall.replace(tzinfo=UTC))


@st.composite
def timetables(draw: st.DrawFn) -> Timetable:
    """Any kind of schedule, in zones with every kind of clock change, some with bounds."""
    zone = draw(st.sampled_from(ZONES))
    kind = draw(st.sampled_from(["cron", "interval", "rrule"]))
    if kind == "rrule":
        return RRule(f"DTSTART:20090215T013000\nRRULE:{draw(st.sampled_from(RULES))}", timezone=zone)
    bounds: dict[str, Any] = draw(  # Any: keyword arguments
        st.sampled_from(
            [{}, {"start": datetime(2010, 3, 28, 2, 30)}, {"exdates": (date(2011, 3, 27), date(2011, 10, 30))}]  # noqa: DTZ001
        )
    )
    if kind == "cron":
        return Cron(draw(st.sampled_from(LINES)), timezone=zone, **bounds)
    seconds = draw(st.sampled_from([900, 3_661, 86_400, 90_000, 604_800, 7 * 86_400 + 1]))
    return Interval(timedelta(seconds=seconds), anchor=draw(WALLS), timezone=zone, **bounds)


@given(timetables(), INSTANTS, st.timedeltas(timedelta(0), timedelta(days=30)), st.booleans())
@settings(max_examples=150)
def test_occurrences_ascend_within_their_bounds(
    schedule: Timetable, after: datetime, span: timedelta, inclusive: bool
) -> None:
    before = after + span
    found = list(islice(schedule.occurrences(after, before, inclusive), 500))
    assert all(earlier < later for earlier, later in pairwise(found))
    assert all(after <= at <= before if inclusive else after < at <= before for at in found)
    assert all(at.tzinfo is UTC for at in found)


@given(timetables(), INSTANTS, st.integers(0, 40), st.timedeltas(timedelta(0), timedelta(hours=3)))
@settings(max_examples=200)
def test_resuming_at_any_point_gives_the_rest_of_the_same_sequence(
    schedule: Timetable, after: datetime, index: int, pause: timedelta
) -> None:
    found = list(islice(schedule.occurrences(after), 60))
    rest = found[index + 1 :]
    if index < len(found):
        assert list(islice(schedule.occurrences(found[index]), len(rest))) == rest
        assert next(schedule.occurrences(found[index], inclusive=True)) == found[index]
        resumed = found[index] + pause
        if rest and resumed < rest[-1]:
            expected = [at for at in rest if at > resumed]
            assert list(islice(schedule.occurrences(resumed), len(expected))) == expected


@given(timetables(), INSTANTS)
@settings(max_examples=100)
def test_a_schedule_survives_json(schedule: Timetable, after: datetime) -> None:
    again = from_dict(schedule.to_dict())
    assert again == schedule
    assert again.to_dict() == schedule.to_dict()
    assert list(islice(again.occurrences(after), 5)) == list(islice(schedule.occurrences(after), 5))


@given(timetables(), INSTANTS)
@settings(max_examples=60)
def test_a_preview_tells_what_will_happen(schedule: Timetable, start: datetime) -> None:
    coming = preview(schedule, start, 20)
    assert [moment.instant for moment in coming] == list(islice(schedule.occurrences(start), 20))
    assert all(moment.wall == schedule.wall(moment.instant) for moment in coming)


@pytest.mark.parametrize(
    ("schedule", "start", "notes"),
    [
        (Cron("30 2 * * *", timezone="Europe/Berlin"), datetime(2026, 3, 28, tzinfo=UTC), ["", "gap", ""]),
        (Cron("30 2 * * *", timezone="Europe/Berlin"), datetime(2026, 10, 24, tzinfo=UTC), ["", "fold", ""]),
        (Cron("0 3 * * *", timezone="Europe/Berlin"), datetime(2026, 3, 28, 3, tzinfo=UTC), ["", "", ""]),
        (Cron("0 * * * *", timezone="Europe/Berlin"), datetime(2026, 10, 24, 23, 30, tzinfo=UTC), ["fold", "fold", ""]),
        (
            Interval(timedelta(days=1), anchor=datetime(2026, 1, 1, 2, 30), timezone="Europe/Berlin"),  # noqa: DTZ001
            datetime(2026, 3, 29, tzinfo=UTC),
            ["gap", "", ""],
        ),
        (
            Interval(timedelta(hours=1), timezone="Europe/Berlin"),
            datetime(2026, 3, 29, tzinfo=UTC),
            ["", "", ""],
        ),
        (
            RRule("DTSTART:20260101T000000\nRRULE:FREQ=YEARLY\nRDATE:20260329T030000", timezone="Europe/Berlin"),
            datetime(2026, 3, 1, tzinfo=UTC),
            ["", "", ""],
        ),
    ],
)
def test_a_preview_marks_gaps_and_folds(schedule: Timetable, start: datetime, notes: list[str]) -> None:
    assert [moment.note for moment in preview(schedule, start, 3)] == notes


def test_a_preview_has_a_bound() -> None:
    with pytest.raises(Invalid, match="outside 1 to 1000"):
        preview(Cron("* * * * *"), datetime(2026, 1, 1, tzinfo=UTC), 1_001)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "one of the keys cron, interval, rrule is needed, there are 0"),
        ({"cron": "0 0 * * *", "interval": 5}, "there are 2"),
        ({"cron": "0 0 * * *", "catchup": "all"}, "unknown catchup; a cron schedule has cron, timezone"),
        ({"cron": "0 0 * * *", "day_or": "no"}, "day_or: 'no' is neither true nor false"),
        ({"cron": 5}, "a line is a text"),
        ({"cron": "0 0 * * *", "timezone": 5}, "there is no 5"),
        ({"cron": "0 0 * * *", "start": "soon"}, "start: 'soon' is no ISO time"),
        ({"cron": "0 0 * * *", "exdates": "2026-01-01"}, "a list of ISO dates"),
        ({"cron": "0 0 * * *", "exdates": ["soon"]}, "'soon' is no ISO time"),
        ({"interval": "1h"}, "'1h' is no number of seconds"),
        ({"interval": True}, "'True' is no number of seconds"),
        ({"interval": float("nan")}, "is no number of seconds"),
        ({"rrule": ["FREQ=DAILY"]}, "a text of at most"),
    ],
)
def test_bad_json_is_refused_with_the_way_out(spec: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        from_dict(spec)


def test_prefects_keys_are_read() -> None:
    spec = {"interval": 86_400, "anchor_date": "2026-01-05T09:00:00", "timezone": "America/New_York"}
    found = from_dict(spec)
    assert found == Interval(timedelta(days=1), anchor=datetime(2026, 1, 5, 9), timezone="America/New_York")  # noqa: DTZ001
    assert found.to_dict() == {"interval": 86_400, "anchor": "2026-01-05T09:00:00", "timezone": "America/New_York"}


WORDS = """* / - , # L W ? 0 5 7 59 99999 MON SUN JAN @daily FREQ= DAILY HOURLY SECONDLY INTERVAL= 100000000 COUNT=
UNTIL= BYDAY= -1FR BYSETPOS= 366 BYMONTHDAY= 30 BYMONTH= 2 ; : RRULE: DTSTART: 20260101T000000 Z RDATE: EXDATE: ²"""
PIECES = st.sampled_from([*WORDS.split(), " ", "\n", ",", ";"])


@given(st.lists(PIECES, max_size=25).map("".join), st.sampled_from(["cron", "rrule"]))
@settings(max_examples=400)
def test_any_text_is_a_schedule_or_invalid(text: str, kind: str) -> None:
    prefix = "DTSTART:20260101T000000\nRRULE:FREQ=" if kind == "rrule" else ""
    for spec in ({kind: text}, {kind: prefix + text}):
        with suppress(Invalid):
            schedule = from_dict(spec)
            first = next(schedule.occurrences(datetime(1990, 1, 1, tzinfo=UTC), inclusive=True))
            assert list(islice(schedule.occurrences(first), 50)) == sorted(islice(schedule.occurrences(first), 50))


DENSE = ",".join(map(str, range(60)))
START = "DTSTART:20000101T000000\nRRULE:"
HEAVY: dict[str, Callable[[], object]] = {
    "a 30 February by cron": lambda: Cron("0 0 30 2 *", timezone="Europe/Berlin"),
    "a 31st of short months by cron": lambda: Cron("* * * 31 2,4,6,9,11 *"),
    "a rule by the year without a day": lambda: RRule(START + "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=3"),
    "a rule by the minute without a day": lambda: RRule(START + "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30"),
    "a rule by the second without a second": lambda: RRule(START + "FREQ=SECONDLY;INTERVAL=60;BYSECOND=1"),
    "a rule by the hour without an hour": lambda: RRule(
        START + "FREQ=HOURLY;INTERVAL=24;BYHOUR=3", timezone="Asia/Gaza"
    ),
    "a step of eleven thousand years": lambda: RRule(START + "FREQ=HOURLY;INTERVAL=100000000"),
    "every second of a century": lambda: RRule(START + "FREQ=SECONDLY"),
    "every second of each day of the year, the last": lambda: RRule(
        START + f"FREQ=YEARLY;BYHOUR={','.join(map(str, range(24)))};BYMINUTE={DENSE};BYSECOND={DENSE};BYSETPOS=-1"
    ),
    "a count that start has used up": lambda: RRule(
        START + "FREQ=SECONDLY;COUNT=5000", start=datetime(2026, 1, 1, tzinfo=UTC)
    ),
    "a count that is far to walk": lambda: RRule(START + "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=0;COUNT=5000"),
    "a count of leap days": lambda: RRule(START + "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;COUNT=5000"),
    "four rules without a day": lambda: RRule(START + "\nRRULE:".join(["FREQ=YEARLY;BYYEARDAY=366;BYMONTH=3"] * 4)),
    "a long list of dates": lambda: RRule(START + "FREQ=DAILY;COUNT=400\nEXDATE:" + ",".join(["20000101"] * 700)),
    "a thousand dates left out": lambda: Cron(
        "0 0 * * *",
        timezone="Asia/Gaza",
        exdates=[datetime(2026, 1, 1) + timedelta(days=n) for n in range(1_000)],  # type: ignore[arg-type] # noqa: DTZ001
    ),
    "a zone that is not": lambda: Cron("0 0 * * *", timezone="Europe/Belrin"),
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_definition_takes_more_than_fifty_milliseconds(name: str) -> None:
    def cost() -> float:
        begin = time.process_time()
        try:
            HEAVY[name]()
        except Invalid:
            return time.process_time() - begin
        return time.process_time() - begin

    assert min(cost() for _ in range(5)) < 0.05
