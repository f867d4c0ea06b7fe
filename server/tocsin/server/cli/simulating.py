"""`tocsin automation simulate`: what would fire, on events of a file or of the log. Nothing is written."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from tocsin.automations import documents
from tocsin.automations import store as stored
from tocsin.automations.comparison import Compared, compare
from tocsin.automations.model import Automation
from tocsin.automations.recorded import Recorded, from_log, read_recording
from tocsin.automations.simulation import Simulated, simulate
from tocsin.events.errors import Invalid
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Row, print_json, show_rows

STORED: Final = "stored"

Form = Annotated[
    Literal["table", "json", "jsonl"],
    Parameter(name=["--output", "-o"], help="A table, a JSON list, or one JSON object a line."),
]
COLUMNS: Final = ("at", "automation", "state", "labels", "count", "event_id")
"""What a table shows of a firing."""


def run(
    *,
    automations: Annotated[
        list[str] | None, Parameter(help="A file or module, or several (default: those on record).", negative=())
    ] = None,
    events: Annotated[
        Path | None, Parameter(help="A file of events, one JSON object a line (default: the log).")
    ] = None,
    since: Annotated[datetime | None, Parameter(help="Take events received from then on; with a zone.")] = None,
    until: Annotated[
        datetime | None, Parameter(help="End there: later events are left out, deadlines before it fire; with a zone.")
    ] = None,
    against: Annotated[
        str | None, Parameter(help="Another version, a file or `stored`: show only the firings that one of them has.")
    ] = None,
    skip_bad: Annotated[bool, Parameter(help="Leave out lines that are no events.", negative=())] = False,
    output: Form = "table",
) -> None:
    """Say what would fire. Nothing is written and nobody is told.

    The events are taken in the order in which they were received, and the clock goes by that: each deadline fires
    before the first event that was received after it.
    """
    check_zone(since=since, until=until)
    given = _defined(automations) if automations else _on_record()
    happened = _happened(events, since, until, skip_bad)
    firings = _fired(given, happened, until)
    if against is None:
        show([firing.to_json() for firing in firings], output, COLUMNS, "nothing fires")
    else:
        names = {one.name for one in given}
        other = [one for one in _on_record() if one.name in names] if against == STORED else _defined([against])
        _show_compared(compare(firings, _fired(other, happened, until)), output)


def check_zone(**moments: datetime | None) -> None:
    """Raise `Invalid` for an option that gives a time without a zone."""
    for option, moment in moments.items():
        if moment is not None and moment.tzinfo is None:
            raise Invalid(f"--{option} {moment.isoformat()}: no time zone; write Z or an offset")


def _defined(targets: Sequence[str]) -> list[Automation]:
    return list(documents.load_all(targets).automations)


def _on_record() -> list[Automation]:
    with opened() as store, store.read() as session:
        return [one.automation for one in stored.list_automations(session)]


def _happened(file: Path | None, since: datetime | None, until: datetime | None, skip_bad: bool) -> list[Recorded]:
    if file is None:
        with opened() as store, store.read() as session:
            return list(from_log(session, since, until))
    recording = read_recording(file, skip_bad=skip_bad)
    if recording.skipped:
        print(f"tocsin: {recording.skipped} lines of {file} are no events and were left out", file=sys.stderr)
    return [one for one in recording.events if since is None or one.received >= since]


def _fired(automations: Iterable[Automation], happened: Iterable[Recorded], until: datetime | None) -> list[Simulated]:
    return simulate(automations, happened, until)


def _show_compared(compared: Compared, output: Form) -> None:
    rows = [{"only": side, **firing.to_json()} for side, firing in compared.only]
    show(rows, output, ("only", *COLUMNS), "no difference")
    print(f"tocsin: {compared.both} firings in both, {len(rows)} in one only", file=sys.stderr)


def show(rows: Iterable[Row], output: Form, columns: Sequence[str], nothing: str) -> None:
    """Print firings as `output` says; `nothing` is what a table says of none."""
    if output != "jsonl":
        show_rows(rows, output, columns, nothing)
        return
    for row in rows:
        print_json(row)
