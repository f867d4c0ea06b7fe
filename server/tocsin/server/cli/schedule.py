"""`tocsin schedule`: what ticks, and when."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_rows

app = App(name="schedule", help="List schedules, preview their ticks.")


@app.command
def ls(
    *,
    deployment: Annotated[str | None, Parameter(help="Only those of this deployment.")] = None,
    output: Output = "table",
) -> None:
    """List schedules."""
    with opened() as store, store.read() as session:
        rows = reads.schedules(session, deployment=deployment)
    columns = ("slug", "kind", "spec", "active", "deployment", "previous_at", "next_at")
    show_rows(rows, output, columns, "no schedules; a deployment brings its own with `tocsin deployment apply`")


@app.command
def preview(
    slug: Annotated[str, Parameter(help="Which schedule.")],
    /,
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many ticks.")] = 10,
    output: Output = "table",
) -> None:
    """Show the next ticks of a schedule; a note says where a clock change moves or doubles the local time."""
    with opened() as store, store.read() as session:
        rows = commands.preview(session, slug, now=datetime.now(UTC), count=count)
    show_rows(rows, output, ("instant", "wall", "note"), "it never ticks again")
