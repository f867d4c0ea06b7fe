"""The tables of limits as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import BIG, FLAG, FLOAT, JSON, NAME, NUMBER, TIME, UUID, index, may, must, table


def make() -> None:
    """Make them."""
    table(
        "concurrency_limit",
        *must(NAME, "key", "kind", "name"),
        *must(NUMBER, "slots"),
        *may(FLOAT, "decay"),
        *must(FLAG, "paused"),
        *must(FLOAT, "level"),
        *may(TIME, "level_at"),
        *must(BIG, "waits", "waited_ms"),
        *must(TIME, "created", "updated"),
        key=("key",),
    )
    table(
        "concurrency_slot",
        *must(NAME, "limit_key"),
        *must(UUID, "ticket"),
        *must(NUMBER, "slots"),
        *must(NAME, "lease"),
        *may(UUID, "flow_run_id"),
        *must(FLAG, "nested"),
        *must(TIME, "asked", "fresh"),
        *may(TIME, "taken"),
        *must(JSON, "holder"),
        key=("limit_key", "ticket"),
    )
    index("concurrency_slot", "flow_run_id")
    index("concurrency_slot", "lease")
    index("concurrency_slot", "ticket")
