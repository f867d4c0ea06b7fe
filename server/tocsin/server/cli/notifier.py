"""`tocsin notifier`: who can be told, and whether that works."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.events.clock import SystemClock
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows

app = App(name="notifier", help="List notifiers, send a test.")


@app.command
def ls(*, output: Output = "table") -> None:
    """List notifiers; their secrets are not shown."""
    with opened() as store, store.read() as session:
        rows = reads.notifiers(session)
    nothing = "no notifiers; put them into a Python file and `tocsin automation apply` it"
    show_rows(rows, output, ("name", "kind", "config", "updated"), nothing)


@app.command(name="test")
def send_test(name: Annotated[str, Parameter(help="Which notifier.")], /, *, output: Output = "table") -> int:
    """Send a test message, really and now. Exit code 1 when it did not arrive."""
    with opened() as store:
        tried = asyncio.run(commands.test_notifier(store, name, SystemClock()))
    show_one(tried, output)
    return 0 if tried.outcome == "delivered" else 1
