"""`tocsin limit`: how many may be at work at once, or in a span of time."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.flows.limits import LimitChange
from tocsin.server import limit_views
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows

app = App(name="limit", help="Create, list, change and remove concurrency limits and rate limits.")

Name = Annotated[str, Parameter(help="KIND:NAME, such as task:fetch, tag:db, deployment:etl; plain: a global limit.")]
Slots = Annotated[int | None, Parameter(help="How many at once.")]
Decay = Annotated[float | None, Parameter(help="Slots won back a second: a rate limit. 0: none.")]

_COLUMNS = ("kind", "name", "slots", "taken", "waiting", "decay", "paused", "waits", "waited_s")
_PLACES = ("holder", "slots", "asked", "taken")


@app.command
def create(
    name: Name,
    slots: Annotated[int, Parameter(help="How many at once.")],
    /,
    *,
    decay: Decay = None,
    output: Output = "table",
) -> None:
    """Create a limit; one that is there gets these numbers. It counts in every process within a second."""
    _put(name, LimitChange(slots=slots, decay=decay), output)


@app.command
def ls(*, output: Output = "table") -> None:
    """List limits, how many slots are taken and how many wait."""
    with opened() as store, store.read() as session:
        rows = limit_views.list_limits(session, datetime.now(UTC))
    show_rows(rows, output, _COLUMNS, "no limits; `tocsin limit create KIND:NAME SLOTS` makes one")


@app.command
def show(name: Name, /, *, output: Output = "table") -> None:
    """Show a limit, who holds it and who waits for it, the longest first."""
    with opened() as store, store.read() as session:
        detail = limit_views.get_limit(session, name, datetime.now(UTC))
    if output == "json":
        show_one(detail, output)
        return
    show_one(detail.model_dump(exclude={"places"}), output)
    show_rows(detail.places, output, _PLACES, "nobody holds it or waits for it")


@app.command(name="set")
def change(
    name: Name,
    /,
    *,
    slots: Slots = None,
    decay: Decay = None,
    paused: Annotated[
        bool | None, Parameter(name="--pause", negative="--resume", help="Let nobody through, or go on.")
    ] = None,
    output: Output = "table",
) -> None:
    """Change a limit; what is not given stays. Who waits is woken."""
    _put(name, LimitChange(slots=slots, decay=decay, paused=paused), output)


@app.command(name=["rm", "remove"])
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Remove a limit; who waits for it goes on."""
    with opened() as store, store.begin() as session:
        limit_views.remove_limit(session, name, datetime.now(UTC))
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


def _put(name: str, change: LimitChange, output: Output) -> None:
    with opened() as store, store.begin() as session:
        view = limit_views.put_limit(session, name, change, datetime.now(UTC))
    show_one(view, output)
