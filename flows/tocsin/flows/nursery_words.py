"""What a worker and its nursery say to each other."""

from typing import Final

import msgspec

PACKET: Final = 1 << 20


class Birth(msgspec.Struct, frozen=True):
    """A child that is wanted: its number, what it is called with, variables over the nursery's own, and where."""

    number: int
    arguments: list[str]
    environment: dict[str, str]
    folder: str | None = None


class News(msgspec.Struct, frozen=True):
    """What became of a child: its process id when it is born; its exit code, negative for a signal, when it ended."""

    number: int
    pid: int
    code: int | None = None
