"""Which incident a group has: the live one, or the last episode, after which a new one is opened."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session, col, func, select

from tocsin.events.chain import joined
from tocsin.events.ids import derive
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.bounds import KEY_SHOWN
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.episodes import columns_of
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.incident import begin
from tocsin.notifiers.node import node_to_json
from tocsin.notifiers.placing import Spot
from tocsin.notifiers.tables import Incident
from tocsin.store.engine import insert_new

_AT_ONCE: Final = 500


def live_of(session: Session, keys: Iterable[UUID]) -> dict[UUID, UUID]:
    """The live incident of each key that has one."""
    found: dict[UUID, UUID] = {}
    for part in _parts(keys):
        live = select(Incident.key_id, Incident.id).where(col(Incident.key_id).in_(part))
        found.update(session.exec(live.where(col(Incident.state).in_(LIVE))).all())
    return found


def latest_of(session: Session, keys: Iterable[UUID]) -> dict[UUID, Incident]:
    """The last episode of each key that had one."""
    found: dict[UUID, Incident] = {}
    for part in _parts(keys):
        last = select(Incident.key_id, func.max(Incident.episode).label("episode"))
        last_of = last.where(col(Incident.key_id).in_(part)).group_by(col(Incident.key_id)).subquery()
        same = (col(Incident.key_id) == last_of.c.key_id) & (col(Incident.episode) == last_of.c.episode)
        statement = select(Incident).join(last_of, same).execution_options(populate_existing=True)
        found.update({row.key_id: row for row in session.exec(statement)})
    return found


def open_new(
    session: Session, wanted: Iterable[tuple[Spot, Alert]], latest: Mapping[UUID, Incident], now: datetime
) -> dict[UUID, UUID]:
    """Open an episode for each group by its first alert; key to incident, also where others were faster."""
    rows = sorted((row_of(spot, alert, latest.get(spot.key_id), now) for spot, alert in wanted), key=lambda r: r["id"])
    for start in range(0, len(rows), _AT_ONCE):
        insert_new(session, Incident, rows[start : start + _AT_ONCE])
    return {row["key_id"]: row["id"] for row in rows}


# Any: values of the table's columns.
def row_of(spot: Spot, alert: Alert, last: Incident | None, now: datetime) -> dict[str, Any]:
    """The episode that the alert opens in its group, after `last`."""
    episode = 1 if last is None else last.episode + 1
    key = cut(clean(spot.key), KEY_SHOWN)
    id = derive("incident", spot.key_id, episode)  # noqa: A001 - it is the row's id
    flaps = tuple(map(datetime.fromisoformat, last.flaps)) if last else ()
    window = timedelta(seconds=spot.node.flap_window_s)
    over = last is not None and last.lasting and last.resolved is not None and last.resolved > now - window
    case = begin(spot.node, now, lasting=alert.lasting, flaps=flaps, over=over)
    incident = Incident(
        id=id,
        key_id=spot.key_id,
        key=key,
        episode=episode,
        route=spot.node.path,
        node=node_to_json(spot.node),
        grouped=spot.grouped,
        subject=alert.subject,
        labels=alert.labels if spot.receiver else spot.grouped,
        dedup_key=f"tocsin/{(id if alert.lasting else spot.key_id).hex}",
        depth=alert.cause.depth,
        chain=joined(alert.cause.path),
        opened=now,
        updated=now,
        event_id=alert.event_id,
        state=case.state,
        lasting=alert.lasting,
        revision=0,
        severity=alert.severity,
    )
    return {**incident.model_dump(), **columns_of(case, spot.node), "severity": alert.severity}


def _parts(keys: Iterable[UUID]) -> list[list[UUID]]:
    several = sorted(set(keys))
    return [several[start : start + _AT_ONCE] for start in range(0, len(several), _AT_ONCE)]
