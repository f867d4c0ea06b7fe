"""The table of those who can be seen to live, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import NAME, TIME, must, table


def make() -> None:
    """Make it."""
    table("presence", *must(NAME, "lease", "kind", "host", "path", "session"), *must(TIME, "since"), key=("lease",))
