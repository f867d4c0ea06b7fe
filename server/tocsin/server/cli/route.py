"""`tocsin route`: who is told of what."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, assert_never

from cyclopts import App, Parameter

from tocsin.automations.routing import together
from tocsin.notifiers import inhibitions, routes
from tocsin.notifiers.routes import written
from tocsin.notifiers.spans import span_text
from tocsin.server import routing
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, Row, print_json, show_one, show_rows
from tocsin.server.routing import WayView

app = App(name="route", help="Apply, list, test and export routes, mute windows and inhibitions.")

Name = Annotated[str, Parameter(help="Which route.")]
Target = Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")]
Kind = Literal["route", "mute-window", "inhibition"]


@app.command
def apply(target: Target, /, *more: Target, output: Output = "table") -> None:
    """Put the routes, mute windows and inhibitions that files or modules define on record; others are left alone."""
    found = together((one, routing.routing_of(one)) for one in dict.fromkeys((target, *more)))
    with opened() as store, store.begin() as session:
        rows = routing.apply(session, found, datetime.now(UTC))
    show_rows(rows, output, ("kind", "name", "change"), "")


@app.command
def ls(*, output: Output = "table") -> None:
    """List routes, mute windows and inhibitions."""
    with opened() as store, store.read() as session:
        rows = routing.definitions(session)
    nothing = "no routes; `tocsin route apply FILE` puts some on record"
    show_rows(rows, output, ("kind", "name", "definition", "updated"), nothing)


@app.command
def show(name: Name, /, *, output: Output = "table") -> None:
    """Show a route as it was written."""
    with opened() as store, store.read() as session:
        route = routes.get_route(session, name)
    show_one(written(route), output)


@app.command(name=["rm", "remove"])
def remove(
    name: Annotated[str, Parameter(help="Which one.")],
    /,
    *,
    kind: Annotated[Kind, Parameter(help="What it is.")] = "route",
    output: Output = "table",
) -> None:
    """Forget a route, a mute window or an inhibition. Open incidents of a route go on by the policy they have."""
    orphans: list[str] = []
    with opened() as store, store.begin() as session:
        match kind:
            case "route":
                routes.remove_route(session, name)
                orphans = routing.named_by(session, name)
            case "mute-window":
                routes.remove_window(session, name)
            case "inhibition":
                inhibitions.remove_inhibition(session, name, datetime.now(UTC))
            case _:
                assert_never(kind)
    show_rows([{"kind": kind, "name": name, "change": "removed"}], output, ("kind", "name", "change"), "")
    if orphans:
        listed = ", ".join(orphans)
        print(f'warning: nobody is told of what {listed} fires: it names route "{name}"; change it', file=sys.stderr)


@app.command(name="test")
def try_out(
    *labels: Annotated[str, Parameter(help="`name=value`, or several with commas between.")],
    route: Annotated[str | None, Parameter(help="By which route (default: by each).")] = None,
    output: Output = "table",
) -> None:
    """Say where an alert with these labels goes, into which group, and why nothing would be said at the moment."""
    given = routing.labels_in(labels)
    with opened() as store, store.read() as session:
        rows = routing.ways(session, given, route, datetime.now(UTC))
    columns = ("path", "receivers", "group", "group_wait", "repeat_interval", "escalation", "quiet")
    shown = [row.model_dump() for row in rows] if output == "json" else [_in_words(row) for row in rows]
    show_rows(shown, output, columns, "no routes; `tocsin route apply FILE` puts some on record")


@app.command
def export(
    *names: Annotated[str, Parameter(help="Which routes (default: all).")],
    output: Annotated[Literal["yaml", "json"], Parameter(name=["--output", "-o"], help="As what.")] = "yaml",
) -> None:
    """Print routes, mute windows and inhibitions as a configuration of Alertmanager, which `amtool` checks and tests.

    As JSON: the definitions, as `apply` reads them.
    """
    with opened() as store, store.read() as session:
        if output == "json":
            chosen = [one for one in routes.list_routes(session) if not names or one.name in names]
            windows, rules = routes.list_windows(session), inhibitions.list_inhibitions(session)
            members = {"mute_windows": windows, "routes": chosen, "inhibitions": rules}
            print_json({key: [one.definition for one in listed] for key, listed in members.items()})
        else:
            print(routing.export(session, names), end="")


def _in_words(way: WayView) -> Row:
    """A way for people: spans as they are written in a route."""
    repeat = way.repeat_interval_s
    return {
        **way.model_dump(),
        "receivers": ", ".join(way.receivers),
        "group": ", ".join(f"{name}={value}" for name, value in way.group.items()) or "all together",
        "group_wait": span_text(timedelta(seconds=way.group_wait_s)),
        "repeat_interval": "never" if repeat is None else span_text(timedelta(seconds=repeat)),
        "escalation": "; ".join(way.escalation),
    }
