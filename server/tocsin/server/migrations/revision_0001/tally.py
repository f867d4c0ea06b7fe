"""The table of what is counted of telling people, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import BIG, NAME, NUMBER, must, table


def make() -> None:
    """Make it."""
    table(
        "notifier_tally",
        *must(NUMBER, "shard"),
        *must(NAME, "kind", "receiver", "label"),
        *must(BIG, "count", "total_ms"),
        key=("shard", "kind", "receiver", "label"),
    )
