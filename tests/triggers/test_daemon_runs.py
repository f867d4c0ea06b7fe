"""Cron lines fire when Debian's cron daemon (3.0pl1-162) started them: its runs as record_daemon.py wrote them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.triggers.daemon import runs
from tests.triggers.record_daemon import BEGIN, CHANGES, DAY_LINES, END, LINES, SPAN
from tocsin.triggers.cron import Cron

RECORD = json.loads(Path(__file__).with_name("daemon_runs.json").read_text(encoding="utf-8"))
MINUTE = timedelta(minutes=1)


def fired(line: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    return list(Cron(line, timezone=zone).occurrences(begin, end - MINUTE, inclusive=True))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("name", CHANGES)
def test_a_line_fires_in_the_minutes_in_which_the_daemon_started_it(name: str, line: str) -> None:
    zone, change = CHANGES[name]
    begin, end = change + SPAN[0], change + SPAN[1]
    recorded = [change + minute * MINUTE for minute in RECORD["changes"][name][line]]
    assert fired(line, zone, begin, end) == recorded
    assert runs(line, ZoneInfo(zone), begin, end) == recorded


@pytest.mark.parametrize("line", DAY_LINES)
def test_a_line_fires_on_the_days_on_which_the_daemon_started_it(line: str) -> None:
    assert " ".join(f"{at:%m-%d}" for at in fired(line, "UTC", BEGIN, END)) == RECORD["days"][line]


def test_the_record_is_whole() -> None:
    assert sum(len(lines) for lines in RECORD["changes"].values()) == 108
    assert all(any(lines.values()) for lines in RECORD["changes"].values())
    assert (len(RECORD["days"]), BEGIN.tzinfo) == (20, UTC)
