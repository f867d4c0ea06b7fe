"""`tocsin delivery`: who was told what, and what is still owed."""

from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter

from tocsin.server import reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_rows

app = App(name="delivery", help="List deliveries of notifications.")


@app.command
def ls(
    *,
    state: Annotated[str | None, Parameter(help="Only those: pending, delivered, dead, …")] = None,
    incident: Annotated[UUID | None, Parameter(help="Only those of this incident.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List deliveries, the latest changed first."""
    with opened() as store, store.read() as session:
        rows = reads.deliveries(session, state=state, incident=incident, limit=limit)
    show_rows(rows, output, ("updated", "receiver", "action", "state", "tries", "due", "reason"), "no deliveries")
