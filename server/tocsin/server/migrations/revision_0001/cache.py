"""The table of what is computed for the cache, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import NAME, NUMBER, TIME, UUID, may, must, table


def make() -> None:
    """Make it."""
    table(
        "cache_flight",
        *must(NAME, "key"),
        *must(UUID, "task_run_id"),
        *must(NAME, "lease"),
        *may(UUID, "flow_run_id"),
        *may(NUMBER, "attempt"),
        *must(TIME, "since"),
        key=("key",),
    )
