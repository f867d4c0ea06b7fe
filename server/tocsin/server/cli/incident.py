"""`tocsin incident`: what is wrong, and what was."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from tocsin.server import reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_rows

app = App(name="incident", help="List incidents.")


@app.command
def ls(
    *,
    state: Annotated[Literal["open", "resolved"] | None, Parameter(help="Only those.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List incidents, the latest opened first."""
    with opened() as store, store.read() as session:
        rows = reads.incidents(session, state=state, limit=limit)
    show_rows(rows, output, ("opened", "state", "severity", "subject", "resolved", "id"), "no incidents")
