"""The tables of blocks and variables, as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import JSON, NAME, TEXT, TIME, UUID, must, table


def make() -> None:
    """Make them."""
    table(
        "block",
        *must(NAME, "type", "name"),
        *must(TEXT, "document"),
        *must(UUID, "written"),
        *must(TIME, "created", "updated"),
        key=("type", "name"),
    )
    table(
        "block_type",
        *must(NAME, "slug", "entrypoint"),
        *must(TEXT, "description"),
        *must(JSON, "fields"),
        *must(TIME, "updated"),
        key=("slug",),
    )
    table(
        "variable",
        *must(NAME, "name"),
        *must(TEXT, "value"),
        *must(JSON, "tags"),
        *must(UUID, "written"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )
