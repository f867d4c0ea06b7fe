"""The tables of what channels keep, as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import NAME, TIME, UUID, must, reference, table


def make() -> None:
    """Make them; after the tables of notifiers."""
    table(
        "heard",
        *must(NAME, "receiver"),
        *must(UUID, "incident_id"),
        *must(NAME, "word"),
        *must(TIME, "occurred"),
        reference("heard", "incident_id", "incident", "id"),
        key=("receiver", "incident_id"),
    )
    table("pace", *must(NAME, "receiver"), *must(TIME, "free"), key=("receiver",))
