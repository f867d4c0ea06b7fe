"""Where alerts go: the incident's group of each, by the routes as they are now."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlmodel import Session

from tocsin.events.errors import NotFound
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute, ToStorm
from tocsin.notifiers.node import Node, direct, storm
from tocsin.notifiers.redact import redacted_logger
from tocsin.notifiers.registry import unknown
from tocsin.notifiers.route import Tree, group_of, nodes
from tocsin.notifiers.routes import get_tree
from tocsin.notifiers.tables import Delivery
from tocsin.notifiers.words import known_notifiers

_DELIVERY: Final = "tocsin.delivery."
_LOG = redacted_logger("tocsin.notifiers.placing")


class Spot(msgspec.Struct, frozen=True):
    """A group that an alert belongs to: its node, its key, and the labels that make it. `receiver`: of a direct one."""

    node: Node
    key: str
    key_id: UUID
    grouped: dict[str, str]
    receiver: str | None = None


class Placer:
    """Finds the spots of alerts in one transaction.

    Raises NotFound for an alert that fires for a notifier or a route that is unknown; one that is over is heard
    without them: what it ends is found by its line.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._trees: dict[str, Tree] = {}
        self._spots: dict[tuple[str, bool, tuple[tuple[str, str], ...]], Spot] = {}

    def place(self, alert: Alert) -> list[Spot]:
        """Every spot of the alert; none when all who would be told of a dead delivery are who it was for."""
        try:
            return self._placed(alert)
        except NotFound:
            if alert.status == "firing":
                raise
            return []

    def _placed(self, alert: Alert) -> list[Spot]:
        match alert.to:
            case ToNotifier(name):
                return self._direct(alert, name)
            case ToStorm(name):
                return [self._storm(name)]
            case ToRoute(name):
                return self._routed(alert, name)

    def _direct(self, alert: Alert, name: str) -> list[Spot]:
        if name not in known_notifiers(self._session):
            raise NotFound(unknown(self._session, name))
        if self._died(alert.labels) == name:
            _LOG.warning("notifier %s is not told of its own dead delivery", name)
            return []
        return [Spot(direct(name), alert.identity, derive("incident-key", alert.identity), {}, name)]

    def _storm(self, receiver: str) -> Spot:
        key = f"storm/{receiver}"
        return Spot(storm(receiver), key, derive("incident-storm", receiver), {"receiver": receiver})

    def _routed(self, alert: Alert, name: str) -> list[Spot]:
        if name not in self._trees:
            self._trees[name] = get_tree(self._session, name)
        died = self._died(alert.labels)
        found = [self._spot(node, alert) for node in nodes(self._trees[name], alert.labels)]
        kept = [_without(spot, died) for spot in found] if died else found
        return [spot for spot in kept if spot.node.receivers]

    def _spot(self, node: Node, alert: Alert) -> Spot:
        grouped = group_of(node, alert.labels)
        parts = tuple(sorted(grouped.items()))
        known = self._spots.get((node.path, alert.lasting, parts))
        if known is None:
            shown = ", ".join(f"{name}={value}" for name, value in parts)
            key = f"{node.path}{{{shown}}}{'' if alert.lasting else ' (news)'}"
            key_id = derive("incident-group", node.path, alert.lasting, *(one for part in parts for one in part))
            known = self._spots[node.path, alert.lasting, parts] = Spot(node, key, key_id, grouped)
        return known

    def _died(self, labels: Mapping[str, str]) -> str | None:
        """The receiver of the dead delivery that an alert is about."""
        resource = labels.get(RESOURCE_ID, "")
        if not resource.startswith(_DELIVERY):
            return None
        try:
            row = self._session.get(Delivery, UUID(resource.removeprefix(_DELIVERY)))
        except ValueError:
            return None
        return row.receiver if row is not None and row.state == "dead" else None


def _without(spot: Spot, died: str) -> Spot:
    """The same group for everybody but `died`, apart from the other alerts."""
    receivers = tuple(name for name in spot.node.receivers if name != died)
    steps = tuple((after, tuple(name for name in names if name != died)) for after, names in spot.node.escalation)
    node = replace(spot.node, receivers=receivers, escalation=tuple(step for step in steps if step[1]))
    return Spot(node, f"{spot.key} without {died}", derive("incident-without", spot.key_id, died), spot.grouped)
