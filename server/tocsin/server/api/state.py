"""What every route works with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from tocsin.events.clock import Clock
from tocsin.server.feed import Feed
from tocsin.server.hooking import Hooks
from tocsin.server.intake import Intake
from tocsin.server.settings import Settings
from tocsin.server.slacking import Presses
from tocsin.store.engine import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one app."""

    store: Store
    settings: Settings
    clock: Clock
    intake: Intake
    feed: Feed
    hooks: Hooks
    presses: Presses

    @classmethod
    def of(cls, request: Request) -> "Context":
        """The parts of the app that a request came to."""
        here: Context = request.app.state.context
        return here


Here = Annotated[Context, Depends(Context.of)]
