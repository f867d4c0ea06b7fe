"""Writes down when Debian's cron daemon starts its jobs: `python -m tests.triggers.record_daemon CRON`.

`CRON` is the daemon's own program (of the package cron 3.0pl1-162, unpacked anywhere). It runs on a clock that goes as
fast as it sleeps (daemon_clock.c), since thirty hours before the change; its log is the record, daemon_runs.json. A job
that it starts twice in a minute (two times of a gap, made up for at once) is one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CHANGES = {
    "Berlin ahead": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York ahead": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "New York back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Lord Howe back by half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Lord Howe ahead by half an hour": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Cairo ahead at midnight": ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
    "Cairo back to the day before": ("Africa/Cairo", datetime(2026, 10, 29, 21, tzinfo=UTC)),
    "Samoa without its 30 December": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
}
LINES = (
    "30 2 * * *", "0 0 * * *", "0,30 2,3 * * *", "15 0-3 * * *", "59 23 * * *", "*/15 * * * *", "45 * * * *",
    "15 */2 * * *", "*/30 2 * * *", "0 1-3/2 * * 0", "* 3 * * *", "10 2 25-31 * 0",
)  # fmt: skip
DAY_LINES = (
    "0 0 13 * 5", "0 0 */2 * 3", "0 0 1-7 * */2", "0 0 * * 1", "0 0 1 * 0", "0 0 1 * 7", "0 0 1,15 * *",
    "0 0 */10 * 1", "0 0 *,5 * 2", "0 0 5,* * 2", "0 0 10-20/5 2-6/2 *", "0 0 31 * *", "0 0 29 2 *",
    "0 0 * 2 0-6/3", "0 0 1 * */3", "0 0 1-31 * 1", "0 0 13 * 0-7", "0 0 */31 * 5", "0 0 2-31/2 * 1-5",
    "0 0 1 1-12 SUN",
)  # fmt: skip
SPAN = (timedelta(hours=-5), timedelta(hours=25))
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC)
_WARM_UP = timedelta(hours=30)


def main(cron: str) -> None:
    """Write the record."""
    with TemporaryDirectory() as folder:
        clock = Path(folder, "clock.so")
        source = Path(__file__).with_name("daemon_clock.c")
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", clock, source, "-ldl"], check=True)
        changes = {name: _around(cron, clock, zone, change) for name, (zone, change) in CHANGES.items()}
        days = _started(cron, clock, "UTC", BEGIN, END, DAY_LINES)
    record: dict[str, dict[str, Any]] = {  # Any: JSON
        "changes": changes,
        "days": {line: " ".join(f"{at:%m-%d}" for at in found) for line, found in days.items()},
    }
    Path(__file__).with_name("daemon_runs.json").write_text("\n".join(_lines(record)) + "\n", encoding="utf-8")


def _around(cron: str, clock: Path, zone: str, change: datetime) -> dict[str, list[int]]:
    """The minutes after the change (negative before it) at which each line was started."""
    found = _started(cron, clock, zone, change + SPAN[0], change + SPAN[1], LINES)
    return {line: [(at - change) // timedelta(minutes=1) for at in started] for line, started in found.items()}


def _started(
    cron: str, clock: Path, zone: str, begin: datetime, end: datetime, lines: Sequence[str]
) -> dict[str, list[datetime]]:
    with TemporaryDirectory() as root:
        spool = Path(root, "var/spool/cron/crontabs")
        for needed in (spool, Path(root, "var/run"), Path(root, "etc/cron.d")):
            needed.mkdir(parents=True)
        table = spool / "root"
        table.write_text("".join(f"{line} echo L{number};\n" for number, line in enumerate(lines)))
        table.chmod(0o600)
        log = Path(root, "log")
        moments = {"CLOCK_BEGIN": begin - _WARM_UP, "CLOCK_END": end}
        settings = {name: str(int(moment.timestamp())) for name, moment in moments.items()}
        environment = {"LD_PRELOAD": str(clock), "TZ": zone, "CLOCK_ROOT": root, "CLOCK_LOG": str(log), **settings}
        subprocess.run([cron, "-f", "-L", "1"], env=os.environ | environment, stdin=subprocess.DEVNULL, check=True)
        rows = [row.partition(" ") for row in log.read_text().splitlines() if "CMD (echo L" in row]
    return {line: _minutes(rows, f"(echo L{number};)", begin) for number, line in enumerate(lines)}


def _minutes(rows: Sequence[tuple[str, str, str]], job: str, begin: datetime) -> list[datetime]:
    found = {datetime.fromtimestamp(int(at) // 60 * 60, UTC) for at, _, text in rows if job in text}
    return sorted(at for at in found if at >= begin)


def _lines(record: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """JSON with a line for a cron line."""
    yield '{"changes": {'
    for name, rows in record["changes"].items():
        last = name == list(record["changes"])[-1]
        body = ",\n".join(f"  {json.dumps(line)}: {json.dumps(minutes)}" for line, minutes in rows.items())
        yield f"{json.dumps(name)}: {{\n{body}\n}}" + ("" if last else ",")
    yield '}, "days": {'
    yield ",\n".join(f"  {json.dumps(line)}: {json.dumps(days)}" for line, days in record["days"].items())
    yield "}}"


if __name__ == "__main__":
    main(sys.argv[1])
