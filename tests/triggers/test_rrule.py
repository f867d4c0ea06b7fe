"""Recurrence rules: they agree with dateutil where dateutil is right, and each ends within its bounds."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.triggers.rrule import RRule

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


def dates(text: str, count: int = 100, *, zone: str = "", form: str = "%Y-%m-%d") -> list[str]:
    rule = RRule(text, timezone=zone)
    return [f"{rule.wall(instant):{form}}" for instant in islice(rule.occurrences(LONG_AGO), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "DTSTART;TZID=America/New_York:19970902T090000\nRRULE:FREQ=DAILY;COUNT=3",
            ["1997-09-02", "1997-09-03", "1997-09-04"],
            id="COUNT from DTSTART",
        ),
        pytest.param(
            "DTSTART:19970902T090000\nRRULE:FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3;COUNT=3",
            ["1997-09-04", "1997-10-07", "1997-11-06"],
            id="RFC 5545: the third of Tuesday, Wednesday, Thursday",
        ),
        pytest.param(
            "DTSTART:19970929T090000\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2;COUNT=3",
            ["1997-09-29", "1997-10-30", "1997-11-27"],
            id="RFC 5545: the last but one weekday",
        ),
        pytest.param(
            "DTSTART:19961105T090000\nRRULE:FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8;COUNT=3",
            ["1996-11-05", "2000-11-07", "2004-11-02"],
            id="RFC 5545: election day",
        ),
        pytest.param(
            "DTSTART:19970805T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"],
            id="RFC 5545: weeks that begin on Sunday",
        ),
        pytest.param(
            "DTSTART:19970512T090000\nRRULE:FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=3",
            ["1997-05-12", "1998-05-11", "1999-05-17"],
            id="RFC 5545: Monday of week 20",
        ),
        pytest.param(
            "DTSTART:20260131T090000\nRRULE:FREQ=MONTHLY;COUNT=3",
            ["2026-01-31", "2026-03-31", "2026-05-31"],
            id="the 31st leaves out short months",
        ),
        pytest.param(
            "DTSTART:20260101T090000\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1;UNTIL=20260331",
            ["2026-01-31", "2026-02-28", "2026-03-31"],
            id="UNTIL a day includes it",
        ),
        pytest.param(
            "DTSTART:20260101T090000\nRRULE:FREQ=DAILY;UNTIL=20260103T085959",
            ["2026-01-01", "2026-01-02"],
            id="UNTIL a wall time",
        ),
        pytest.param(
            "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260102T000000\nEXDATE;VALUE=DATE:20260104",
            ["2026-01-01", "2026-01-03"],
            id="COUNT is not made up for what EXDATE takes away",
        ),
        pytest.param(
            "DTSTART:20260103T080000\nRDATE:20260102T080000,20260101T080000\nRDATE;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;COUNT=2",
            ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"],
            id="RDATE adds, in any order, a day at the time of DTSTART",
        ),
        pytest.param(
            "DTSTART:20260101T000000\nRRULE:FREQ=MONTHLY;BYMONTHDAY=1;COUNT=2\nRRULE:FREQ=MONTHLY;BYMONTHDAY=1,15;COUNT=3",
            ["2026-01-01", "2026-01-15", "2026-02-01"],
            id="several lines: each once",
        ),
        pytest.param(
            "dtstart:20260101T000000\r\nRRULE:freq=monthly;by\r\n monthday=2;count=1;\r\n",
            ["2026-01-02"],
            id="small letters, folded lines",
        ),
        pytest.param(
            "DTSTART:20260105T000000\nRRULE:FREQ=MONTHLY;BYDAY=FR,1MO;COUNT=3",
            ["2026-01-05", "2026-01-09", "2026-01-16"],
            id="BYDAY with and without numbers: either",
        ),
    ],
)
def test_the_dates_of_a_rule(text: str, expected: list[str]) -> None:
    assert dates(text) == expected


def test_until_with_z_is_an_instant_in_any_zone() -> None:
    text = "DTSTART;TZID=Europe/Berlin:20260701T020000\nRRULE:FREQ=DAILY;UNTIL=20260702T235959Z"
    assert dates(text) == ["2026-07-01", "2026-07-02"]
    assert dates(text.replace("235959", "000000")) == ["2026-07-01", "2026-07-02"]
    assert dates(text.replace("0702T235959", "0701T235959")) == ["2026-07-01"]


def test_until_in_a_fold_is_told_apart_by_z() -> None:
    text = "DTSTART;TZID=Europe/Berlin:20261025T000000\nRRULE:FREQ=HOURLY;BYHOUR=2;UNTIL="
    assert dates(text + "20261025T020000", form="%H:%M") == ["02:00", "02:00"]
    assert dates(text + "20261025T003000Z", form="%H:%M") == ["02:00"]


def test_count_counts_what_happens_in_gap_and_fold() -> None:
    text = "DTSTART;TZID=Europe/Berlin:2026{}T010000\nRRULE:FREQ=HOURLY;COUNT=4"
    assert dates(text.format("0329"), form="%H") == ["01", "03", "04", "05"]
    assert dates(text.format("1025"), form="%H") == ["01", "02", "02", "03"]


def test_the_zone_comes_from_dtstart_or_from_the_schedule() -> None:
    rule = "\nRRULE:FREQ=DAILY;COUNT=1"
    assert RRule("DTSTART;TZID=Asia/Tokyo:20260101T090000" + rule).timezone == "Asia/Tokyo"
    assert RRule("DTSTART:20260101T090000Z" + rule).timezone == "UTC"
    assert dates("DTSTART:20260101T090000Z" + rule, zone="Asia/Tokyo", form="%H") == ["18"]
    assert dates("DTSTART;TZID=UTC:20260101T090000" + rule, zone="Asia/Tokyo", form="%H") == ["18"]
    with pytest.raises(Invalid, match="leave one of them out"):
        RRule("DTSTART;TZID=Asia/Tokyo:20260101T090000" + rule, timezone="Europe/Berlin")


def test_without_dtstart_start_is_it() -> None:
    start = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001
    schedule = RRule("FREQ=WEEKLY", start=start, timezone="Europe/Berlin")
    assert [f"{instant:%m-%d %H}" for instant in islice(schedule.occurrences(LONG_AGO), 2)] == ["03-02 08", "03-09 08"]
    precise = RRule("FREQ=WEEKLY;COUNT=1", start=start.replace(microsecond=5))
    assert list(precise.occurrences(LONG_AGO)) == [start.replace(tzinfo=UTC)]
    with pytest.raises(Invalid, match="no DTSTART; put a line"):
        RRule("FREQ=WEEKLY")


def test_start_after_dtstart_is_a_bound() -> None:
    text = "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;INTERVAL=10;COUNT=4"
    schedule = RRule(text, start=datetime(2026, 1, 15, tzinfo=UTC), exdates=(date(2026, 1, 21),))
    assert [instant.day for instant in schedule.occurrences(LONG_AGO)] == [31]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL=0: outside 1 to"),
        ("RRULE:FREQ=DAILY;INTERVAL=-1", "INTERVAL=-1: not a number"),
        ("RRULE:FREQ=DAILY;COUNT=0", "COUNT=0: outside 1 to 5000"),
        ("RRULE:FREQ=SECONDLY;COUNT=999999999", "COUNT=999999999: outside"),
        ("RRULE:FREQ=MINUTELY;INTERVAL=2;BYMINUTE=0;COUNT=5000", "COUNT=5000 takes too long to count; give UNTIL"),
        ("RRULE:FREQ=DAILY;COUNT=2;UNTIL=20270101", "exclude each other"),
        ("RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "would never fire"),
        ("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "would never fire"),
        ("RRULE:FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", "would never fire"),
        ("RRULE:FREQ=SECONDLY;INTERVAL=60;BYSECOND=1", "would never fire"),
        ("RRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=3", "would never fire"),
        ("RRULE:FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "would never fire"),
        ("RRULE:FREQ=MINUTELY;BYSETPOS=2", "would never fire"),
        ("RRULE:FREQ=DAILY;COUNT=1\nEXDATE:20260101T000000", "would never fire"),
        ("RRULE:FREQ=DAILY;UNTIL=20250101", "would never fire"),
        ("RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY", "'EXRULE' is none of"),
        ("RRULE:FREQ=FORTNIGHTLY", "FREQ is one of YEARLY"),
        ("RRULE:INTERVAL=2", "FREQ is one of"),
        ("RRULE:FREQ=DAILY;BYEASTER=1", "'BYEASTER=1' is twice there"),
        ("RRULE:FREQ=DAILY;FREQ=DAILY", "'FREQ=DAILY' is twice there"),
        ("RRULE:FREQ=DAILY;BYDAY=2MO", "belongs to FREQ=MONTHLY"),
        ("RRULE:FREQ=YEARLY;BYDAY=54MO", "BYDAY=54: outside 1 to 53"),
        ("RRULE:FREQ=MONTHLY;BYDAY=XX", "'XX' is none of MO"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0: outside 1 to 31 and -31 to -1"),
        ("RRULE:FREQ=DAILY;BYSECOND=60", "BYSECOND=60: outside"),
        ("RRULE:FREQ=DAILY;UNTIL=tomorrow", "'TOMORROW' is no date"),
        ("RRULE:FREQ=DAILY;UNTIL=20260230", "'20260230' is no date and time of the calendar: day is out of range"),
        ("RRULE:FREQ=DAILY;UNTIL=20261301", "'20261301' is no date and time of the calendar: month must be in"),
        ("RRULE:FREQ=DAILY\nEXDATE:20260101T240000", "'20260101T240000' is no date and time of the calendar: hour"),
        ("RDATE:20260101T000000", "there must be 1 to 4 lines RRULE"),
        ("RRULE:FREQ=DAILY\n" * 5, "there must be 1 to 4 lines RRULE"),
        ("RRULE:FREQ=DAILY\nRDATE;VALUE=PERIOD:20260101T000000Z/PT1H", "VALUE=PERIOD"),
        ("RRULE:FREQ=DAILY\nRDATE;TZID=Mars/Olympus:20260101T000000", "there is no 'Mars/Olympus'"),
        ("RRULE FREQ DAILY", "has no colon"),
        ("", "there must be 1 to 4 lines"),
        ("x" * 6_501, "at most 6500 characters"),
    ],
)
def test_a_bad_rule_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        RRule(f"DTSTART:20260101T000000\n{text}" if len(text) < 6_500 else text)


def test_a_rule_by_the_second_from_1970_is_refused() -> None:
    with pytest.raises(Invalid, match="by the second from 1970 on; begin DTSTART in 2000"):
        RRule("DTSTART:19700101T000000\nRRULE:FREQ=SECONDLY")


def lists(low: int, high: int, *, signed: bool = False) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    either = numbers | numbers.map(lambda number: -number) if signed else numbers
    return st.lists(either, min_size=1, max_size=3, unique=True).map(lambda found: ",".join(map(str, found)))


WEEKDAYS = st.lists(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1, max_size=4, unique=True)
NUMBERED = st.tuples(st.sampled_from([1, 2, 4, 5, -1, -2]), WEEKDAYS).map(
    lambda pair: [f"{pair[0]}{day}" for day in pair[1]]
)
BYHOUR, BYMINUTE, BYSECOND = lists(0, 23), lists(0, 59), lists(0, 59)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """An RRULE within what RFC 5545 allows and dateutil gets right."""
    frequency = draw(st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]))
    parts = {"INTERVAL": st.integers(1, 40).map(str), "BYMONTH": lists(1, 12), "WKST": st.sampled_from(["MO", "SU"])}
    weekdays = WEEKDAYS | NUMBERED if frequency in ("YEARLY", "MONTHLY") else WEEKDAYS
    parts["BYDAY"] = weekdays.map(",".join)
    if frequency != "WEEKLY":
        parts["BYMONTHDAY"] = lists(1, 31, signed=True)
        parts["BYSETPOS"] = lists(1, 4, signed=True)
    if frequency not in ("WEEKLY", "MONTHLY", "DAILY"):
        parts["BYYEARDAY"] = lists(1, 366, signed=True)
    parts |= {"BYHOUR": BYHOUR, "BYMINUTE": BYMINUTE, "BYSECOND": BYSECOND}
    chosen = draw(st.lists(st.sampled_from(sorted(parts)), max_size=4, unique=True))
    if frequency == "YEARLY" and "BYDAY" not in chosen and draw(st.booleans()):
        return f"FREQ=YEARLY;BYWEEKNO={draw(lists(1, 50))}" + "".join(f";{n}={draw(parts[n])}" for n in chosen)
    return f"FREQ={frequency}" + "".join(f";{name}={draw(parts[name])}" for name in chosen)


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=MONTHLY;BYDAY=-1MO,-2FR",
        "FREQ=MONTHLY;BYDAY=5SU,-5SU",
        "FREQ=YEARLY;BYDAY=-1MO,53TH,-53FR",
        "FREQ=YEARLY;BYMONTH=2,3;BYDAY=-1SU,2TU",
        "FREQ=YEARLY;BYYEARDAY=-1,-366,1,366",
        "FREQ=YEARLY;BYWEEKNO=1,52,53;WKST=SU",
        "FREQ=YEARLY;BYWEEKNO=-1;BYDAY=MO,SU",
        "FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=-1,10,11",
        "FREQ=WEEKLY;INTERVAL=3;BYDAY=SU,MO;WKST=SU",
        "FREQ=DAILY;INTERVAL=10;BYHOUR=9,10;BYSETPOS=-1",
        "FREQ=HOURLY;INTERVAL=7;BYMINUTE=5,50;BYDAY=SA",
    ],
)
def test_a_hundred_dates_agree_with_dateutil(rule: str) -> None:
    start = datetime(2026, 1, 31, 8, 15)  # noqa: DTZ001
    found = list(islice(RRule(f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{rule}").occurrences(LONG_AGO), 100))
    assert [at.replace(tzinfo=None) for at in found] == list(islice(rrulestr(rule, dtstart=start), 100))


@given(rules(), st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)), st.integers(0, 3_000))  # noqa: DTZ001
@settings(max_examples=150)
def test_a_rule_agrees_with_dateutil(rule: str, start: datetime, days: int) -> None:
    start = start.replace(microsecond=0)
    try:
        ours = RRule(f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{rule}")
    except Invalid:
        assume(False)
    after = start.replace(tzinfo=UTC) + timedelta(days=days)
    found = list(islice(ours.occurrences(after), 12))
    assume(found)
    walk = rrulestr(rule, dtstart=start).xafter(after.replace(tzinfo=None), count=len(found))
    assume("MINUTELY" not in rule or days < 100)
    assume("SECONDLY" not in rule or days < 3)
    assert found == [instant.replace(tzinfo=UTC) for instant in walk]
