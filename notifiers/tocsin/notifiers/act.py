"""What a person does about an incident, from whichever channel it comes."""

from datetime import datetime, timedelta

import msgspec


class Acknowledge(msgspec.Struct, frozen=True, tag="acknowledge"):
    """Somebody is at it: no repeat, no escalation, until `until` (None: until it is over).

    `by` is a name for people; `via` the notifier it came through, "" for the command line and the API.
    """

    by: str
    via: str = ""
    until: datetime | None = None


class Unacknowledge(msgspec.Struct, frozen=True, tag="unacknowledge"):
    """Nobody is at it any more: escalation goes on."""

    by: str
    via: str = ""


class Resolve(msgspec.Struct, frozen=True, tag="resolve"):
    """It is over, by hand."""

    by: str
    via: str = ""


class Silence(msgspec.Struct, frozen=True, tag="silence"):
    """Say nothing more of its group for `span`."""

    by: str
    span: timedelta
    via: str = ""
    comment: str = ""


Act = Acknowledge | Unacknowledge | Resolve | Silence
