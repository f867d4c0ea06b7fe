"""The tables of triggers as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import FLAG, FLOAT, JSON, NAME, NUMBER, TIME, index, may, must, table


def make() -> None:
    """Make the tables of triggers."""
    _schedule()
    _source()


def _schedule() -> None:
    table(
        "schedule",
        *must(NAME, "slug", "kind"),
        *must(JSON, "spec"),
        *must(NAME, "timezone"),
        *must(FLAG, "active"),
        *may(FLAG, "declared"),
        *must(NAME, "catchup"),
        *may(FLOAT, "window_s"),
        *must(NAME, "overlap"),
        *may(NAME, "deployment"),
        *must(JSON, "parameters"),
        *must(TIME, "cursor"),
        *may(TIME, "previous_at", "next_at"),
        *must(NUMBER, "version"),
        *must(TIME, "created", "updated"),
        key=("slug",),
    )
    index("schedule", "active", "next_at")
    index("schedule", "deployment")


def _source() -> None:
    table("source", *must(NAME, "name"), *must(JSON, "spec"), *must(TIME, "created", "updated"), key=("name",))
