"""What is said in the thread under an incident: the difference between what was told last and what holds now. Pure.

The thread of an incident that was acknowledged, grew and is over:

```text
🔴 daily-order-etl failed                                  the message, changed in place
   ├ 👀 Acknowledged by ann
   ├ 12 alerts now, 3 before
   ├ 🔴 Still firing: daily-order-etl failed  🔁 after 4 h   shown in the channel too
   └ ✅ Resolved after 4 h 12 min
```

A line follows from two standings, not from a step between them: what was skipped while Slack asked to wait is in the
next line.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tocsin.notifiers.fit import ELLIPSIS, clean, cut, escape
from tocsin.notifiers.view import Action, View

HEADLINE: Final = 300
BY: Final = 100
LINE_TYPE: Final = "tocsin_line"

_HALF_ENTITY: Final = re.compile(r"&[a-z]{0,3}$")
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class Standing(msgspec.Struct, frozen=True):
    """How an incident stands, as far as its thread has anything to say about it.

    `total` is how many there are of what `noun` names; 0 for an incident of one thing that is not counted.
    """

    at: datetime
    state: str = "open"
    by: str = ""
    severity: str = ""
    total: int = 0
    noun: str = "alert"
    muted: int = 0
    level: int = 0
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the thread; `broadcast` shows it in the channel too."""

    text: str
    broadcast: bool = False


def standing(view: View) -> Standing:
    """How the incident of `view` stands."""
    return Standing(
        at=view.at,
        state="resolved" if view.over else view.state,
        by=cut(" ".join(clean(view.acked_by).split()), BY),
        severity=view.severity,
        total=max(view.total, len(view.items)),
        noun={"": "item", "storm": "incident"}.get(view.route, "alert"),
        muted=view.muted,
        level=view.level,
        flapping=view.flapping,
    )


# Any: JSON.
def to_payload(now: Standing) -> dict[str, Any]:
    """`now` as JSON, flat: it travels in the metadata of the message and in the delivery's handle."""
    payload: dict[str, Any] = msgspec.to_builtins(now)
    return payload


# Any: JSON, from a row or from Slack.
def from_payload(payload: Any) -> Standing | None:
    """The standing in a payload; None when there is none, or none that this version can read."""
    try:
        return msgspec.convert(payload, Standing)
    except msgspec.ValidationError:
        return None


def thread_line(before: Standing | None, now: Standing, action: Action, since: datetime, headline: str) -> Line | None:
    """What the thread must hear of `now`; None when nothing has changed.

    `before` is what it was told last (None: not known, then only what `action` says is told). `headline` is the text
    of the message as it goes out, escaped; a line that is shown in the channel begins with it.
    """
    lasted = span(now.at - since)
    if action == "resolve":
        return Line(f"✅ Resolved after {lasted}")
    before = before or Standing(now.at, severity=now.severity, total=now.total, muted=now.muted, level=now.level)
    higher = [f"⏫ escalated, step {now.level:,}"] if now.level > before.level else []
    loud = [f"{step}, after {lasted}" for step in higher if action != "acknowledge"]
    if action == "repeat" and not loud:
        loud = [f"🔁 still firing after {lasted}"]
    quiet = [*(higher if not loud else []), *_taken(before, now), *_counted(before, now), *_flapped(before, now)]
    if loud:
        return Line(f"{_short(headline)}\n{' · '.join([*loud, *quiet])}", broadcast=True)
    if quiet:
        return Line(" · ".join(quiet))
    return Line("Fired again") if action in ("update", "trigger") else None


def span(lasted: timedelta) -> str:
    """A span for people, its two largest units: `45 s`, `4 h 12 min`, `3 d`."""
    rest, shown = max(int(lasted.total_seconds()), 0), []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            shown.append(f"{count:,} {unit}")
        elif shown:
            break
    return " ".join(shown[:2]) or "0 s"


def _taken(before: Standing, now: Standing) -> list[str]:
    if now.state == "acknowledged" and (before.state, before.by) != (now.state, now.by):
        return [f"👀 Acknowledged by {escape(now.by or ELLIPSIS, BY)}"]
    if before.state == "acknowledged" and now.state == "open":
        return ["Not acknowledged any more"]
    return []


def _counted(before: Standing, now: Standing) -> list[str]:
    said = []
    if before.severity and before.severity != now.severity:
        said.append(f"Severity {before.severity} → *{now.severity}*")
    if now.total != before.total:
        said.append(_how_many(before.total, now))
    if now.muted != before.muted:
        said.append(f"{now.muted:,} silenced" if now.muted else "Nothing silenced any more")
    return said


def _how_many(before: int, now: Standing) -> str:
    """How many there are now; of one thing that is not counted nothing is known but that it is not many."""
    if not now.total:
        return f"Down from {_some(before, now.noun)}"
    return f"{_some(now.total, now.noun)} now" + (f", {before:,} before" if before else "")


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def _flapped(before: Standing, now: Standing) -> list[str]:
    if now.flapping == before.flapping:
        return []
    return ["〰️ Flapping: it comes and goes; the end is told when it stays quiet" if now.flapping else "Steady again"]


def _short(headline: str) -> str:
    """An escaped headline in few characters, no entity halved."""
    return headline if len(headline) <= HEADLINE else _HALF_ENTITY.sub("", headline[: HEADLINE - 1]) + ELLIPSIS
