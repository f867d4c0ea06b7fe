"""`tocsin run logs`: what a run logged, what it is logging now, and what any run logged."""

import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from logging import getLevelName
from typing import Annotated, Final
from uuid import UUID

from cyclopts import Parameter
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.flows.runs import get_run
from tocsin.flows.states import StateType
from tocsin.server import log_reads, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, cell, plain, print_json
from tocsin.server.log_reads import Wanted, level_of
from tocsin.server.views import LogLineView
from tocsin.store.engine import Store

LOOK_S: Final = 0.3


def logs(
    run: Annotated[
        str | None, Parameter(help="Id of a flow run, its first letters, or its name; without: all.")
    ] = None,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Go on until the run is over.")
    ] = False,
    level: Annotated[str, Parameter(help="From this level up: debug, info, warning, error, critical.")] = "debug",
    grep: Annotated[str, Parameter(help="Only lines with this text in them, in any case.")] = "",
    task: Annotated[str | None, Parameter(help="Only lines of this task, or of this task run.")] = None,
    since: Annotated[datetime | None, Parameter(help="Only lines from then on.")] = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], help="The newest so many.")] = log_reads.MOST,
    output: Output = "table",
) -> None:
    """Print what a flow run logged, oldest first; with -f go on with what it logs. Without a run: search all runs."""
    wanted = Wanted(level_of(level), grep, task, since and since.astimezone())
    if run is None and follow:
        raise Invalid("--follow needs a run; `tocsin run ls` lists them")
    with opened() as store:
        with store.read() as session:
            identity = reads.run_named(session, run) if run is not None else None
            lines = _newest(session, identity, wanted, limit)
        if output == "json" and not follow:
            print_json([line.model_dump() for line in lines])
        else:
            _print(lines, output, of_many=identity is None)
        if len(lines) == limit:
            print(f"only the newest {limit:,} lines are shown; `--limit {limit * 10}` shows more", file=sys.stderr)
        if follow and identity is not None:
            for more in _following(store, identity, wanted, lines[-1].id if lines else 0):
                _print(more, output)


def _newest(session: Session, run: UUID | None, wanted: Wanted, limit: int) -> list[LogLineView]:
    if run is None:
        return log_reads.search(session, wanted, limit=limit)[::-1]
    return log_reads.last_of_run(session, run, wanted, limit=limit)


def _following(store: Store, run: UUID, wanted: Wanted, after: int) -> Iterator[list[LogLineView]]:
    """What comes behind line `after`, until the run is over; it is asked first, so that no last word is missed."""
    pause = threading.Event()
    while True:
        over, lines = _look(store, run, wanted, after)
        if lines:
            after = lines[-1].id
            yield lines
        elif over:
            return
        else:
            pause.wait(LOOK_S)


def _look(store: Store, run: UUID, wanted: Wanted, after: int) -> tuple[bool, list[LogLineView]]:
    with store.read() as session:
        row = get_run(session, run)
        over = row.ended is not None or row.state_type == StateType.PAUSED.value
        return over, log_reads.of_run(session, run, wanted, after=after)


def _print(lines: list[LogLineView], output: Output, *, of_many: bool = False) -> None:
    for line in lines:
        if output == "json":
            print_json(line.model_dump())
            continue
        whose = f"{line.run or line.task or '-'}  " if of_many else ""
        print(f"{cell(line.at)}  {getLevelName(line.level):<8} {whose}{plain(line.message)}", flush=True)
