"""Where an incident stands, what has come, and what follows: the values of its state machine."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from tocsin.notifiers.act import Act
from tocsin.notifiers.view import Action, Severity

State = Literal["waiting", "open", "acknowledged", "settling", "resolved", "dropped", "told"]
Whom = Literal["all", "told"] | tuple[str, ...]
Payload = dict[str, str | int | bool | list[str] | None]

LIVE: Final = ("waiting", "open", "acknowledged", "settling")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incident stands.

    `firing` counts its alerts that fire, `news` says that something has not been told yet, `said` is when the last
    word was put down (None: nobody was told). `level` counts the steps of escalation in this of the `rounds`, `flaps`
    are the times when it fired again, `suppressed` says why nothing may be said, `was` is what settling goes back to.
    """

    opened: datetime
    state: State = "waiting"
    lasting: bool = True
    firing: int = 0
    severity: Severity = "info"
    revision: int = 0
    news: bool = False
    said: datetime | None = None
    wait_until: datetime | None = None
    settle_at: datetime | None = None
    repeat_at: datetime | None = None
    escalate_at: datetime | None = None
    ack_until: datetime | None = None
    level: int = 0
    rounds: int = 0
    flaps: tuple[datetime, ...] = ()
    flapping: bool = False
    suppressed: str | None = None
    muted_until: datetime | None = None
    acked_by: str = ""
    was: Literal["open", "acknowledged"] = "open"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What has come: `firing` and `severity` are those after the change.

    `news` concerns the receivers in `to` (none named: all); those in `joining` hear of the incident for the first
    time, without any news in it. `reason` says why nothing may be said of it, until `until` (None: nobody knows).
    """

    now: datetime
    firing: int
    severity: Severity = "info"
    news: bool = False
    to: tuple[str, ...] = ()
    joining: tuple[str, ...] = ()
    reason: str | None = None
    until: datetime | None = None
    act: Act | None = None


class Word(msgspec.Struct, frozen=True):
    """Something to say: to `all` (its receivers and whoever was told), to those `told`, or to these names.

    `again`: a pager that knows it is called again, where it would else hear nothing twice. `via` is the channel that
    the word came through.
    """

    action: Action
    to: Whom
    revision: int
    again: bool = False
    via: str = ""


class Fact(msgspec.Struct, frozen=True):
    """The event `tocsin.incident.<name>` and what is in it."""

    name: str
    payload: Payload = {}


class Move(msgspec.Struct, frozen=True):
    """Where the incident stands now, what has to be said, and what is told of it on the bus."""

    case: Case
    words: tuple[Word, ...] = ()
    facts: tuple[Fact, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether it says something that a suppression would stop."""
        return any(word.action in ("trigger", "update", "repeat") for word in self.words)
