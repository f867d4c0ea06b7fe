"""`tocsin notifier`: who can be told, whether that works, and what exactly would be sent."""

import asyncio
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter

from tocsin.events.clock import SystemClock
from tocsin.events.errors import Invalid
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, print_json, show_one, show_rows
from tocsin.server.cli.payloads import content

app = App(name="notifier", help="List notifiers, send a test, preview a message.")


@app.command
def apply(target: Annotated[str, Parameter(help="A .yaml or .json file.")], /, *, output: Output = "table") -> None:
    """Put the notifiers that a file defines on record; others are left alone."""
    from datetime import UTC, datetime

    from tocsin.notifiers.registry import put_notifier
    from tocsin.server.notifier_files import notifiers_in

    found, now = notifiers_in(target), datetime.now(UTC)
    with opened() as store, store.begin() as session:
        for block in found:
            put_notifier(session, block, now)
    show_rows([{"name": block.name, "change": "put"} for block in found], output, ("name", "change"), "")


@app.command
def ls(*, output: Output = "table") -> None:
    """List notifiers; their secrets are not shown."""
    with opened() as store, store.read() as session:
        rows = reads.notifiers(session)
    nothing = "no notifiers; `tocsin notifier apply FILE` puts some on record"
    show_rows(rows, output, ("name", "kind", "config", "updated"), nothing)


@app.command(name="test")
def send_test(name: Annotated[str, Parameter(help="Which notifier.")], /, *, output: Output = "table") -> int:
    """Send a test message, really and now. Exit code 1 when it did not arrive."""
    with opened() as store:
        tried = asyncio.run(commands.test_notifier(store, name, SystemClock()))
    show_one(tried, output)
    return 0 if tried.outcome == "delivered" else 1


@app.command
def preview(
    name: Annotated[str, Parameter(help="Which notifier.")],
    /,
    *,
    event: Annotated[UUID | None, Parameter(help="The message that this event leads to.")] = None,
    automation: Annotated[str | None, Parameter(help="By this automation (default: by each that tells it).")] = None,
    alert: Annotated[
        str | None,
        Parameter(help="That of an alert (JSON) instead: a FILE, or - for stdin.", allow_leading_hyphen=True),
    ] = None,
    minimal: Annotated[bool, Parameter(help="As it is sent again when the channel refused it.", negative=())] = False,
) -> None:
    """Print, as JSON, the exact body that would be sent. Secrets are masked; nothing is written, nobody is told.

    An alert is an object such as {"subject": "etl failed", "severity": "critical", "labels": {"team": "db"}}; it may
    have body, items, total, status (firing, resolved), lasting, and route, by which it comes.
    """
    from tocsin.server import oncall_preview  # brings the HTTP clients, which no other command needs

    if (event is None) == (alert is None):
        raise Invalid("preview what? Give --event with the id of one, or --alert with a file (- for stdin)")
    clock = SystemClock()
    with opened() as store:
        if event is not None:
            look = oncall_preview.of_event(store, name, event, clock, automation=automation, minimal=minimal)
            print_json(asyncio.run(look))
        else:
            document = content("--alert", alert if alert == "-" else f"@{alert}")
            print_json([asyncio.run(oncall_preview.of_sample(store, name, document, clock, minimal=minimal))])
