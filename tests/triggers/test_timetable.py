"""What holds for schedules of every kind: order, bounds, resuming, JSON, preview, and a bound on the work."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice, pairwise, repeat
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speed import takes_less
from tocsin.events.errors import Invalid
from tocsin.triggers.preview import preview
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable, from_dict

EARLIEST, NOON = datetime(1990, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC)
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
        ({"interval": 10**5_000}, "interval: that is no number of seconds"),
        ({"interval": 60, "jitter": 10**5_000}, "jitter: that is no number of seconds"),
        ({"cron": "0 0 * * *", "start": 20260101}, "start: int is no ISO time"),
        ({"cron": "0 0 * * *", "exdates": [5]}, "exdates: int is no ISO time"),
        ({"rrule": ["FREQ=DAILY"]}, "a text of at most"),
        (["cron"], "is no object with one of the keys"),
    ],
)
def test_bad_json_is_refused_with_the_way_out(spec: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        from_dict(spec)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"anchor": "2026-01-01"}, "anchor: '2026-01-01' is no datetime"),
        ({"anchor": date(2026, 1, 1)}, "is no datetime"),
        ({"exdates": "2026-01-01"}, "is no list of dates"),
        ({"exdates": date(2026, 1, 1)}, "is no list of dates"),
        ({"exdates": [5]}, "5 is no date"),
        ({"jitter": 5}, "jitter: 5 is no timedelta"),
        ({"start": "soon"}, "start: 'soon' is no datetime"),
    ],
)
def test_fields_of_another_type_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Interval(timedelta(hours=1), **fields)


def test_a_time_said_in_a_fold_or_in_another_zone_survives_json() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for second in (datetime(2026, 10, 25, 2, 30, fold=1), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=berlin)):  # noqa: DTZ001
        schedule = Interval(timedelta(hours=1), anchor=second, start=second, end=second, timezone="Europe/Berlin")
        assert list(schedule.occurrences(EARLIEST)) == [datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
        assert from_dict(schedule.to_dict()) == schedule
        assert list(from_dict(schedule.to_dict()).occurrences(EARLIEST)) == list(schedule.occurrences(EARLIEST))


@pytest.mark.parametrize("edge", [datetime.min, datetime.max])  # noqa: DTZ901
@pytest.mark.parametrize("offset", [timedelta(hours=-12), timedelta(hours=14)])
def test_the_ends_of_the_calendar_are_asked_for_without_harm(edge: datetime, offset: timedelta) -> None:
    schedule, early = Cron("0 0 1 1 *", timezone="Pacific/Kiritimati"), edge.year == 1
    for moment in (edge, edge.replace(tzinfo=timezone(offset))):
        assert len(list(islice(schedule.occurrences(moment), 3))) == (3 if early else 0)
        assert len(list(islice(schedule.occurrences(NOON, moment), 3))) == (0 if early else 3)


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (lambda: Cron("0 0 31 4 *"), "would never fire; no month has such a day"),
        (lambda: Cron("0 0 * * *", start=NOON, end=NOON), "would never fire; its bounds and exdates leave nothing"),
        (
            lambda: Cron("*/30 2 * 3 SUNL", timezone="Europe/Berlin", start=datetime(2026, 1, 1)),  # noqa: DTZ001
            "would never fire; from 2025-12-31 on the clocks of Europe/Berlin never show its times",
        ),
        (
            lambda: RRule(
                "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;COUNT=2", exdates=[date(2026, 1, 1), date(2026, 1, 2)]
            ),
            "would never fire; no date has all that it asks for, or its bounds and exdates leave nothing",
        ),
    ],
)
def test_what_would_never_fire_is_refused_and_says_why(schedule: Callable[[], Timetable], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        schedule()


def test_days_left_out_are_leapt_over() -> None:
    winter = [date(2026, 10, 1) + timedelta(days=n) for n in range(60)]
    schedule = Cron("* * * * * *", timezone="Europe/Berlin", exdates=winter)
    found = list(islice(schedule.occurrences(datetime(2026, 9, 30, 21, 59, 58, tzinfo=UTC)), 3))
    assert [schedule.wall(at).isoformat() for at in found] == [
        "2026-09-30T23:59:59", "2026-11-30T00:00:00", "2026-11-30T00:00:01",
    ]  # fmt: skip


@given(timetables(), st.lists(WALLS, min_size=1, max_size=6), st.booleans(), INSTANTS)
@settings(max_examples=50)
def test_what_is_left_out_is_missing_and_nothing_else(
    schedule: Timetable, walls: list[datetime], whole: bool, after: datetime
) -> None:
    near = [wall.replace(year=2011, month=3) for wall in walls] + [schedule.wall(after)]
    exdates = [wall.date() if whole else wall for wall in near]
    with suppress(Invalid):
        fewer = replace(schedule, exdates=(*schedule.exdates, *exdates))
        every = list(islice(schedule.occurrences(after), 400))
        found = list(fewer.occurrences(after, every[-1])) if every else []
        kept = [at for at in every if (schedule.wall(at).date() if whole else schedule.wall(at)) not in exdates]
        # What a gap has moved is left out by its own wall time, which is shown nowhere.
        assert [at for at in found if whole or not schedule.is_moved(at)] == [
            at for at in kept if whole or not schedule.is_moved(at)
        ]


def test_a_day_that_the_clocks_show_in_two_parts_is_left_out_whole() -> None:
    schedule = Cron("*/10 * * * *", timezone="Africa/Cairo", exdates=[date(2026, 10, 29)])
    found = schedule.occurrences(datetime(2026, 10, 28, 20, 45, tzinfo=UTC), datetime(2026, 10, 29, 22, 10, tzinfo=UTC))
    assert [f"{schedule.wall(at):%d %H:%M}" for at in found] == ["28 23:50", "30 00:00", "30 00:10"]


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
IN_GAPS = "FREQ=HOURLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14;BYHOUR=2"
NEW_YORK = "America/New_York"
A_MILLION = ["2026-01-01"] * 1_000_000
MANY = {"cron": "0 0 * * *"} | {str(number): 1 for number in range(100_000)}


def days_off(step: int) -> list[date]:
    return [NOON.date() + timedelta(days=step * number) for number in range(1_000)]


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
        exdates=[datetime(2026, 1, 1) + timedelta(days=n) for n in range(1_000)],  # noqa: DTZ001
    ),
    "every second of days left out": lambda: Cron("* * * * * *", start=NOON, exdates=days_off(1)),
    "every second of days left out, up to an end": lambda: Cron(
        "* * * * * *", start=NOON, end=NOON + timedelta(days=900), exdates=days_off(1)
    ),
    "seconds of a rule on days left out": lambda: RRule(START + "FREQ=SECONDLY", start=NOON, exdates=days_off(1)),
    "every second of Thursdays left out": lambda: Cron("* * * * * THU", start=NOON, exdates=days_off(7)),
    "four rules on Thursdays left out": lambda: RRule(
        START + "\nRRULE:".join(f"FREQ=YEARLY;BYDAY=TH;BYHOUR=1,2;BYMINUTE={n}" for n in range(4)),
        start=NOON,
        exdates=days_off(7),
    ),
    "a beat in gaps only": lambda: Cron("*/30 2 * 3 SUNL", timezone="Europe/Berlin", start=NOON),
    "four rules in gaps only": lambda: RRule(START + "\nRRULE:".join([IN_GAPS] * 4), timezone=NEW_YORK, start=NOON),
    "a count in gaps only": lambda: RRule(f"{START}{IN_GAPS};COUNT=5000".replace("2000", "2030"), timezone=NEW_YORK),
    "a count of positions that no minute has": lambda: RRule(
        START + f"FREQ=MINUTELY;BYHOUR=9,15;BYSETPOS={','.join(map(str, range(1, 367)))};COUNT=5000"
    ),
    "four counts": lambda: RRule(START + "\nRRULE:".join(["FREQ=DAILY;COUNT=5000"] * 4)),
    "walls in the gaps of a thousand years": lambda: Cron(
        "30 2 * * *",
        timezone="Europe/Berlin",
        exdates=[datetime(1981 + 7 * n, 3, 29, 2, 30) for n in range(1_000)],  # noqa: DTZ001
    ),
    "a million dates": lambda: from_dict({"cron": "0 0 * * *", "exdates": A_MILLION}),
    "a hundred thousand keys": lambda: from_dict(MANY),
    "dates without end": lambda: Cron("0 0 * * *", exdates=repeat(date(2026, 1, 1))),  # type: ignore[arg-type]
    "a line of five hundred stars": lambda: Cron(",".join(["*"] * 240) + " * * * *"),
    "a rule of semicolons": lambda: RRule("RRULE:" + ";" * 6_400),
    "a rule of folded lines": lambda: RRule("\n " * 3_200 + "FREQ=DAILY"),
    "zones that are nearly": lambda: RRule(START + "FREQ=DAILY" + "\nEXDATE;TZID=Europe/Berlix:20260101T000000" * 130),
    "a number of five thousand digits": lambda: from_dict({"interval": 10**5_000}),
    "a zone that is not": lambda: Cron("0 0 * * *", timezone="Europe/Belrin"),
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_definition_takes_more_than_fifty_milliseconds(name: str) -> None:
    def define() -> None:
        with suppress(Invalid):
            HEAVY[name]()

    assert takes_less(0.05, define)
