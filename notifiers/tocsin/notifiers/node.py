"""The policy of an incident: a node of a route with everything inherited, or the implicit one of a direct message."""

from datetime import timedelta
from typing import Any, Final

import msgspec

SECOND: Final = timedelta(seconds=1)
DIRECT: Final = ""
STORM: Final = "storm"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar window of muting, as Alertmanager's time interval: every part that is given must hold.

    Ranges have both ends in them; `times` are minutes of the local day, their end is not in them. Weekdays count from
    0 (Sunday), days of the month may be negative (from the end). `zone` is an IANA name.
    """

    name: str
    times: tuple[tuple[int, int], ...] = ()
    weekdays: tuple[tuple[int, int], ...] = ()
    days_of_month: tuple[tuple[int, int], ...] = ()
    months: tuple[tuple[int, int], ...] = ()
    years: tuple[tuple[int, int], ...] = ()
    zone: str = "UTC"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """How the alerts of a group are told: to whom, after which waits, and what follows when nobody answers.

    `path` is the route and its children ("oncall/db"), "" for a message without a route. `group_by` None: by every
    label. `repeat_interval_s` None: never again. `escalation`: steps of (after how many seconds without an answer, to
    whom), gone through `escalation_repeat` times more. Spans are seconds. Frozen, and it survives a trip through JSON.
    """

    path: str = DIRECT
    receivers: tuple[str, ...] = ()
    group_by: tuple[str, ...] | None = None
    group_wait_s: float = 0.0
    group_interval_s: float = 0.0
    repeat_interval_s: float | None = None
    resolve_wait_s: float = 0.0
    mute: tuple[Window, ...] = ()
    escalation: tuple[tuple[float, tuple[str, ...]], ...] = ()
    escalation_repeat: int = 0
    ack_timeout_s: float | None = None
    flap_count: int = 4
    flap_window_s: float = 600.0
    flap_quiet_s: float = 300.0


def direct(*receivers: str) -> Node:
    """The implicit node of a message that names its receivers: no wait, no repeat, no escalation."""
    return Node(receivers=receivers)


def storm(receiver: str) -> Node:
    """The node of a receiver's storm: a digest after ten seconds, changed once a minute."""
    return Node(path=STORM, receivers=(receiver,), group_wait_s=10.0, group_interval_s=60.0, resolve_wait_s=60.0)


# Any: the JSON document in a row.
def node_to_json(node: Node) -> dict[str, Any]:
    """`node` as a JSON document."""
    document: dict[str, Any] = msgspec.to_builtins(node)
    return document


def node_from_json(document: dict[str, Any]) -> Node:
    """The node in a JSON document made by `node_to_json`."""
    return msgspec.convert(document, Node)
