"""`tocsin delivery`: who was told what, what is still owed, and what died and is sent again."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from cyclopts import App, Parameter
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.notifiers.redrive import redrive, redrive_dead
from tocsin.server import oncall
from tocsin.server.cli import oncall_lines
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, plain, print_json, show_one, show_rows
from tocsin.server.oncall_views import RedrivenView
from tocsin.server.routing import aware

app = App(name="delivery", help="List and show deliveries, send dead ones again.")

State = Literal["pending", "sending", "unknown", "delivered", "superseded", "dead"]
Receiver = Annotated[str | None, Parameter(help="Only those to this notifier.")]
_COLUMNS = ("id", "updated", "receiver", "action", "state", "tries", "due", "reason")


@app.command
def ls(
    *,
    state: Annotated[State | None, Parameter(help="Only those.")] = None,
    receiver: Receiver = None,
    incident: Annotated[
        str | None, Parameter(help="Only those of this incident: its id, or its first letters.")
    ] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List deliveries, the latest changed first."""
    with opened() as store, store.read() as session:
        wanted = oncall.incident_named(session, incident) if incident else None
        rows = oncall.deliveries(session, state=state, receiver=receiver, incident=wanted, limit=limit)
    show_rows(rows, output, _COLUMNS, "no deliveries", short={"id"}, limit=limit)


@app.command
def show(
    delivery: Annotated[str, Parameter(help="Id of a delivery, or its first letters.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """Show a delivery and its attempts; as JSON also what was, or will be, shown to its receiver."""
    with opened() as store, store.read() as session:
        found = oncall.delivery(session, oncall.delivery_named(session, delivery))
    if output == "json":
        print_json(found.model_dump())
        return
    show_one(found.model_dump(exclude={"attempts", "view"}), output)
    for attempt in found.attempts:
        print(plain(f"  {oncall_lines.tried(attempt)}"))


@app.command(name="redrive")
def send_again(
    *deliveries: Annotated[str, Parameter(help="Ids of dead deliveries, or their first letters.")],
    dead: Annotated[bool, Parameter(help="All that are dead.", negative=())] = False,
    receiver: Receiver = None,
    since: Annotated[datetime | None, Parameter(help="Only those that died from then on; with a zone.")] = None,
    output: Output = "table",
) -> None:
    """Send dead deliveries again: not what they once had to say, but what is true of their incident now.

    Where nothing is owed any more (it is over, and the receiver never heard of it) nothing is sent, and it says so.
    """
    if bool(deliveries) == dead:
        raise Invalid("which deliveries? Give their ids, or --dead for all that are dead")
    now = datetime.now(UTC)
    with opened() as store, store.begin() as session:
        if dead:
            found = redrive_dead(session, now, receiver=receiver, since=aware(since, "--since"))
        else:
            found = [redrive(session, one, now) for one in _named(session, deliveries)]
    rows = [RedrivenView.model_validate(one) for one in found]
    columns, ids = ("delivery", "incident", "receiver", "put", "why"), {"delivery", "incident"}
    show_rows(rows, output, columns, "no dead deliveries", short=ids)


def _named(session: Session, texts: tuple[str, ...]) -> list[UUID]:
    return sorted({oncall.delivery_named(session, one) for one in texts})
