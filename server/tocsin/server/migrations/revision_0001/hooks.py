"""The table of hooks as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import JSON, NAME, TEXT, TIME, must, table


def make() -> None:
    """Make the table of hooks."""
    table(
        "hook",
        *must(NAME, "name"),
        *must(JSON, "config"),
        *must(TEXT, "secrets"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )
