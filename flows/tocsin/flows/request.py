"""What an engine asks of the book, as a value: it can be carried out here, or sent to a server that carries it out.

    answer = ledger.ask(FindCached(key=key, now=now))

Each room of the engine defines its own requests beside what they are about. The fields of a request are plain data
(text, numbers, times, ids, JSON), and so is its answer: both survive a trip through JSON.
"""

from typing import Any, ClassVar

import msgspec
from sqlmodel import Session


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work in one transaction. Carried out twice, it leaves what it leaves when carried out once."""

    writes: ClassVar[bool] = True
    """False: it only looks, and needs no write transaction."""

    def perform(self, session: Session) -> Any:  # Any: each request says what it answers
        """Carry it out; the answer."""
        raise NotImplementedError
