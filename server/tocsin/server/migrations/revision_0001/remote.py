"""The table of engines far away, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import TEXT, TIME, UUID, index, must, table


def make() -> None:
    """Make it."""
    table("answered_post", *must(UUID, "id"), *must(TEXT, "answer"), *must(TIME, "at"), key=("id",))
    index("answered_post", "at")
