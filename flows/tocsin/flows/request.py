"""What an engine asks of the book, as a value: it can be carried out here, or sent to a server that carries it out.

    answer = ledger.ask(FindSubflow(key=key))

Each area of the engine defines its own requests beside what they are about. The fields of a request are plain data
(text, numbers, times, ids, JSON), and so is its answer: both survive a trip through JSON, the answer as the type that
the request names. A request in JSON tells its class as `type`.
"""

from typing import Any, ClassVar

import msgspec
from sqlmodel import Session


class Request(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One piece of work in one transaction. Carried out twice, it leaves what it leaves when carried out once."""

    writes: ClassVar[bool] = True
    """False: it only looks, and needs no write transaction."""

    answer: ClassVar[Any] = Any  # a type
    """As what `msgspec.json.decode` reads its answer."""

    def perform(self, session: Session) -> Any:  # Any: each request says what it answers
        """Carry it out; the answer."""
        raise NotImplementedError
