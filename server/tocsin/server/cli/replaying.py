"""`tocsin automation replay`: a stretch of the log once more, to one automation."""

from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from tocsin.automations.replay import Replayed, replay
from tocsin.server.cli.opening import opened
from tocsin.server.cli.simulating import COLUMNS, Form, check_zone, show


def run(
    name: Annotated[str, Parameter(help="Which automation.")],
    /,
    *,
    since: Annotated[datetime, Parameter(help="Events received from then on; with a zone.")],
    until: Annotated[datetime | None, Parameter(help="And before then; with a zone (default: now).")] = None,
    act: Annotated[
        bool, Parameter(help="Do what has not been done: put its actions down, marked.", negative=())
    ] = False,
    output: Form = "table",
) -> None:
    """Give an automation a stretch of the log once more, by its present definition, switched on or not.

    Without `--act` nothing is written. With it, firings that are on record already are left alone, so nothing is done
    twice; a dispatcher does the rest.
    """
    check_zone(since=since, until=until)
    now = datetime.now(UTC)
    with opened() as store, store.begin() if act else store.read() as session:
        found = replay(session, name, since, until or now, act=act, now=now)
    show([_row(one, act) for one in found], output, ("change", *COLUMNS), "nothing fires")


def _row(one: Replayed, act: bool) -> dict[str, Any]:  # Any: JSON
    new = "put down" if act else "new"
    return {"change": "on record" if one.known else new, **one.firing.to_json()}
