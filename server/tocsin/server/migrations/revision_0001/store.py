"""The tables of store as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import (
    BIG,
    BYTES,
    NAME,
    NUMBER,
    SEQUENCE,
    TEXT,
    TIME,
    UUID,
    index,
    must,
    table,
    unique,
)


def make() -> None:
    """Make the tables of store."""
    _lease()
    _log()
    _position()
    _secret()


def _lease() -> None:
    table("lease", *must(NAME, "name", "owner"), *must(BIG, "fence"), *must(TIME, "expires"), key=("name",))


def _log() -> None:
    table(
        "log",
        *must(SEQUENCE, "seq"),
        *must(UUID, "id"),
        *must(NAME, "topic", "key", "event"),
        *must(TIME, "occurred", "recorded"),
        *must(BYTES, "body"),
        unique("log", "id", "topic"),
        key=("seq",),
        sqlite_autoincrement=True,
    )
    index("log", "event", "seq")
    index("log", "key", "seq")


def _position() -> None:
    table(
        "position",
        *must(NAME, "consumer", "stream"),
        *must(NUMBER, "partition"),
        *must(BIG, "next_offset"),
        key=("consumer", "stream", "partition"),
    )


def _secret() -> None:
    table("secret", *must(NAME, "name"), *must(TEXT, "sealed"), *must(TIME, "created", "updated"), key=("name",))
