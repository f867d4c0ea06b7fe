"""The command line. Sub-commands are imported when they are used, so that `tocsin --help` is quick."""

from collections.abc import Sequence
from typing import Final

from cyclopts import App, Group

from tocsin.server.version import version

_FIRST: Final = Group.create_ordered("Start here")
_ROLES: Final = Group.create_ordered("Roles, one process each")
_NOUNS: Final = Group.create_ordered("Look and change")

app = App(
    name="tocsin",
    help="Runs flows, turns each change of state into an event, evaluates automations on the events, and acts.\n\n"
    "Works on the database of TOCSIN_DATABASE_URL (unset: SQLite under TOCSIN_HOME).",
    version=version,
    version_flags=["--version"],
)

_COMMANDS: Final = (
    ("demo", "tocsin.server.cli.start:demo", _FIRST, "Play one event's whole way, from a failing flow to the pager."),
    ("dev", "tocsin.server.cli.start:dev", _FIRST, "Everything in one process on SQLite, for trying out."),
    ("health", "tocsin.server.cli.health:health", _FIRST, "Say whether a role is alive, or ready."),
    ("server", "tocsin.server.cli.start:server", _ROLES, "Serve the HTTP API."),
    ("scheduler", "tocsin.server.cli.start:scheduler", _ROLES, "Emit the ticks of schedules."),
    ("processor", "tocsin.server.cli.start:processor", _ROLES, "Evaluate automations on the stream of events."),
    ("dispatcher", "tocsin.server.cli.start:dispatcher", _ROLES, "Perform actions and deliver notifications."),
    ("worker", "tocsin.server.cli.worker:app", _ROLES, "Run deployments of one work pool."),
    ("event", "tocsin.server.cli.event:app", _NOUNS, "Emit, follow and list events."),
    ("hook", "tocsin.server.cli.hook:app", _NOUNS, "Apply, list, try and remove hooks: events that others post."),
    ("automation", "tocsin.server.cli.automation:app", _NOUNS, "Plan, apply, list and explain automations."),
    ("schedule", "tocsin.server.cli.schedule:app", _NOUNS, "List, preview, pause and backfill schedules."),
    ("source", "tocsin.server.cli.source:app", _NOUNS, "Take events from Kafka topics of others."),
    ("deployment", "tocsin.server.cli.deployment:app", _NOUNS, "Apply, list and run deployments."),
    ("run", "tocsin.server.cli.run:app", _NOUNS, "List, show, steer and retry flow runs; read their logs."),
    ("work-pool", "tocsin.server.cli.pool:app", _NOUNS, "Create and list work pools."),
    ("work-queue", "tocsin.server.cli.queue:app", _NOUNS, "Create, list, pause and resume queues of work pools."),
    ("cache", "tocsin.server.cli.cache:app", _NOUNS, "List and clear cached results; say how much they save."),
    ("limit", "tocsin.server.cli.limit:app", _NOUNS, "Create, list and change concurrency and rate limits."),
    ("artifact", "tocsin.server.cli.artifact:app", _NOUNS, "List and show what runs leave: texts, tables, links."),
    ("variable", "tocsin.server.cli.variable:app", _NOUNS, "Set, get and list values that flows share."),
    ("block", "tocsin.server.cli.block:app", _NOUNS, "Create, list and show configuration and secrets of flows."),
    ("notifier", "tocsin.server.cli.notifier:app", _NOUNS, "Put and list notifiers, send a test."),
    ("secret", "tocsin.server.cli.secret:app", _NOUNS, "Put, list and remove secrets; change the key."),
    ("route", "tocsin.server.cli.route:app", _NOUNS, "Apply, list, test and export routes: who is told of what."),
    ("silence", "tocsin.server.cli.silence:app", _NOUNS, "Add, list and end silences."),
    ("incident", "tocsin.server.cli.incident:app", _NOUNS, "Show, acknowledge, resolve, silence, explain incidents."),
    ("delivery", "tocsin.server.cli.delivery:app", _NOUNS, "List and show deliveries, send dead ones again."),
    ("db", "tocsin.server.cli.db:app", _NOUNS, "Upgrade the database."),
)

for _name, _where, _group, _help in _COMMANDS:
    app.command(_where, name=_name, group=_group, help=_help)


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command line (default: the process's own) and leave with its exit code: 0, 1 (error), 2 (usage)."""
    from tocsin.server.cli.ending import run

    raise SystemExit(run(app, tokens))
