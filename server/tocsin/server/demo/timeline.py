"""The demo as it happens: one line an event, read from the log like any other reader would."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from rich.console import Console
from rich.text import Text

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.store.engine import Store
from tocsin.store.log import CHANNEL, Follower, number
from tocsin.store.signals import first

_LOOK: Final = timedelta(seconds=1)
_PAGE: Final = 200

# Event name (or its beginning) → what a reader sees of it: a word, and its colour.
_WORDS: Final = (
    ("tocsin.schedule.tick", "tick", "cyan"),
    ("tocsin.flow-run.Failed", "flow", "bold red"),
    ("tocsin.flow-run.Crashed", "flow", "bold red"),
    ("tocsin.flow-run.Completed", "flow", "bold green"),
    ("tocsin.flow-run.", "flow", "blue"),
    ("tocsin.task-run.Failed", "task", "red"),
    ("tocsin.task-run.Completed", "task", "green"),
    ("tocsin.automation.action.failed", "action", "red"),
    ("tocsin.automation.action.executed", "action", "magenta"),
    ("tocsin.automation.triggered", "alarm", "bold yellow"),
    ("tocsin.automation.resolved", "alarm", "bold green"),
    ("tocsin.incident.", "incident", "yellow"),
    ("tocsin.delivery.", "told", "bold magenta"),
    ("orders.", "outside", "bold cyan"),
)


def line(event: Event, begun: datetime) -> Text | None:
    """How the timeline shows an event that happened after `begun`; None for one that it leaves out."""
    for beginning, word, style in _WORDS:
        if event.event.startswith(beginning):
            after = (event.occurred - begun).total_seconds()
            return Text.assemble((f"{max(after, 0.0):6.2f} s  ", "dim"), (f"{word:<9}", style), says(event))
    return None


def says(event: Event) -> str:
    """An event in a few words: what, to which resource, and why."""
    what = event.event.removeprefix("tocsin.")
    whom = event.resource.get(RESOURCE_NAME) or event.resource[RESOURCE_ID].removeprefix("tocsin.")
    whom = whom.partition("/")[0] if what.startswith("incident.") else whom
    error = event.payload.get("error") or {}
    details = (event.payload.get("action"), event.payload.get("receiver"), error.get("message"))
    return "  ".join([what, whom, *(str(detail) for detail in details if detail)])


async def show(store: Store, console: Console, begun: datetime, stop: asyncio.Event) -> None:
    """Print the log's events as they come, until `stop` is set and everything has been shown."""
    follower, after = Follower(), 0
    with store.watch(CHANNEL) as watch:
        while True:
            last = stop.is_set()
            entries = await store.look(partial(follower.read, after=after, limit=_PAGE))
            for entry in entries:
                after = number(entry)
                _print(console, entry.body, begun)
            if not entries:
                if last:
                    return
                await first(watch.wait(_LOOK), stop.wait())


def _print(console: Console, body: bytes, begun: datetime) -> None:
    try:
        shown = line(codec.decode(body), begun)
    except BadEvent:
        return
    if shown is not None:
        console.print(shown, overflow="ellipsis", no_wrap=True)
