"""`tocsin schedule`: what ticks, and when."""

import sys
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.events.errors import Invalid
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows
from tocsin.triggers.backfill import MOST_ACTIVE
from tocsin.triggers.schedules import time_of
from tocsin.triggers.written import written

app = App(name="schedule", help="List, pause and resume schedules; preview their ticks, send those that were not sent.")

Slug = Annotated[str, Parameter(help="Which schedule.")]


@app.command
def ls(
    *,
    deployment: Annotated[str | None, Parameter(help="Only those of this deployment.")] = None,
    output: Output = "table",
) -> None:
    """List schedules."""
    with opened() as store, store.read() as session:
        rows = reads.schedules(session, deployment=deployment)
    columns = ("slug", "kind", "spec", "active", "catchup", "overlap", "deployment", "previous_at", "next_at")
    show_rows(rows, output, columns, "no schedules; a deployment brings its own with `tocsin deployment apply`")


@app.command
def preview(
    spec: Annotated[str, Parameter(help="A slug, or a definition: '0 9 * * 1', 'every 90m', 'FREQ=DAILY', JSON.")],
    /,
    *,
    timezone: Annotated[str | None, Parameter(help="Whose clocks a definition follows (default: UTC).")] = None,
    start: Annotated[str | None, Parameter(help="First instant; without a zone, a time of the schedule's.")] = None,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many ticks.")] = 10,
    slug: Annotated[str | None, Parameter(help="What a definition will be called: its jitter hangs on it.")] = None,
    output: Output = "table",
) -> None:
    """Show the next ticks of a schedule, also of one that is not there yet.

    `wall` is what the clocks of its zone show. A note says where they are changed: `gap` (its own time does not exist
    that day), `fold` (the clocks show this time twice). With a jitter, `sent at` is when the tick is sent. A rule
    without DTSTART begins at --start.
    """
    first = time_of(start, "--start") if start else None
    now = datetime.now(UTC)
    begin = first or now.replace(microsecond=0)
    if (schedule := written(spec, timezone=timezone, start=begin)) is not None:
        rows = commands.preview_of(schedule, begin, count, slug)
        if schedule.jitter and slug is None:
            print("tocsin: its jitter hangs on its slug: say --slug to see when ticks are sent", file=sys.stderr)
    elif timezone or slug:
        own = "timezone" if timezone else "slug"
        raise Invalid(f"{spec!r} is no definition, and a schedule on record has its own {own}; leave --{own} out")
    else:
        with opened() as store, store.read() as session:
            rows = commands.preview(session, spec, now=now, count=count, start=first)
    spread = any(row.sent_at != row.instant for row in rows)
    columns = ("instant", "sent_at", "wall", "note") if spread else ("instant", "wall", "note")
    show_rows(rows, output, columns, "it never ticks again")


@app.command
def pause(slug: Slug, /, *, output: Output = "table") -> None:
    """Let a schedule rest: no ticks until it is resumed. What falls into the pause was not due."""
    _switch(slug, False, output)


@app.command
def resume(slug: Slug, /, *, output: Output = "table") -> None:
    """Let a paused schedule tick again, from now on."""
    _switch(slug, True, output)


@app.command
def backfill(
    slug: Slug,
    /,
    *,
    begin: Annotated[str, Parameter(name="--from", help="First instant; without a zone, a time of the schedule's.")],
    end: Annotated[str | None, Parameter(name="--to", help="Last instant (default: now).")] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say which ticks would be sent.")] = False,
    max_active: Annotated[int, Parameter(help="How many of the runs may be under way at once.")] = MOST_ACTIVE,
    reverse: Annotated[bool, Parameter(negative=(), help="The latest tick first.")] = False,
    output: Output = "table",
) -> None:
    """Send the ticks of a time that were never sent. A second time nothing is left to send."""
    now = datetime.now(UTC)
    first, last = time_of(begin, "--from"), time_of(end, "--to") if end else now
    with opened() as store, store.begin() as session:
        rows = commands.backfill(
            session, slug, first, last, dry_run=dry_run, max_active=max_active, reverse=reverse, now=now
        )
    show_rows(
        rows, output, ("scheduled_time", "data_interval_start"), "nothing to send: every tick of that time was sent"
    )


def _switch(slug: str, active: bool, output: Output) -> None:
    with opened() as store, store.begin() as session:
        row = commands.switch_schedule(session, slug, active=active, now=datetime.now(UTC))
    show_one(row, output)
