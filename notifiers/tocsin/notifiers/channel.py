"""The port through which people are told: a channel renders, sends, and may find again what it sent."""

from typing import Protocol

from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome
from tocsin.notifiers.view import Message, View


class Notifier(Protocol):
    """One way to tell somebody."""

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The message for `view`, inside every limit of the channel. Pure; `minimal` asks for the plainest form."""
        ...

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Try once. `handle` is what an earlier delivery of the same incident gave back. Never raises."""
        ...

    async def find(self, message: Message) -> Delivered | Later | None:
        """Look for a message of this incident that went out without an answer; None when there is none to be seen."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...
