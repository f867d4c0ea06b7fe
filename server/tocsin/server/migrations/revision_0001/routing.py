"""The tables of routing and suppression as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import FLAG, JSON, NAME, TEXT, TIME, UUID, index, may, must, table


def make() -> None:
    """Make the tables of routes, mute windows, inhibitions and silences."""
    for name in ("route", "mute_window", "inhibition"):
        table(name, *must(NAME, "name"), *must(JSON, "definition"), *must(TIME, "updated"), key=("name",))
    _inhibitor()
    _silence()
    table("routing_stamp", *must(NAME, "name"), *must(UUID, "stamp"), key=("name",))


def _inhibitor() -> None:
    table(
        "inhibitor",
        *must(UUID, "incident_id", "fingerprint"),
        *must(NAME, "rule"),
        *must(TEXT, "key"),
        *must(FLAG, "both"),
        key=("incident_id", "fingerprint", "rule"),
    )


def _silence() -> None:
    table(
        "silence",
        *must(UUID, "id"),
        *must(JSON, "matchers"),
        *must(TIME, "starts", "ends"),
        *must(NAME, "author"),
        *must(TEXT, "comment"),
        *must(TIME, "created"),
        *may(TIME, "expired"),
        key=("id",),
    )
    index("silence", "ends")
