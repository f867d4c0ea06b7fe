"""Calls of one episode to one address are made one after the other: what is over is not told before what began.

Triggered ── call ── HTTP 500 ── again in 5 s ── 204
Resolved  ── waits ─────────────────────────────── call
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.automations.ledger import DUE
from tocsin.automations.tables import StoredFiring, StoredInvocation

WEBHOOK: Final = "call-webhook"
_LOOKED_AT: Final = 50

Address = tuple[str | None, str | None]


def waiting(
    session: Session, rows: Sequence[StoredInvocation], now: datetime, pause: timedelta
) -> dict[UUID, datetime]:
    """The webhooks among `rows` that wait for an earlier one of their episode, and until when.

    One that is under way is looked at again after `pause`, one that failed when it is due again.
    """
    episodes = _later(session, [row.firing_id for row in rows if row.action == WEBHOOK])
    heads = {episode: _first(session, episode) for episode in set(episodes.values())}
    until: dict[UUID, datetime] = {}
    for row in rows:
        if row.action != WEBHOOK or row.firing_id not in episodes:
            continue
        known = heads[episodes[row.firing_id]]
        head = known.get(_address(row)) or next(iter(known.values()), row)
        if head.id != row.id:
            until[row.id] = max(now + pause, now if head.lease_until else head.due)
    return until


def _later(session: Session, firings: list[UUID]) -> dict[UUID, UUID]:
    """The episodes of those firings that did not open them."""
    if not firings:
        return {}
    statement = select(StoredFiring.id, StoredFiring.episode).where(
        col(StoredFiring.id).in_(firings), col(StoredFiring.id) != col(StoredFiring.episode)
    )
    return dict(session.exec(statement).all())


def _first(session: Session, episode: UUID) -> dict[Address, StoredInvocation]:
    """The first webhook still due of each address, among the first fifty of the episode."""
    statement = (
        select(StoredInvocation)
        .join(StoredFiring, col(StoredFiring.id) == col(StoredInvocation.firing_id))
        .where(StoredFiring.episode == episode)
        .where(StoredInvocation.action == WEBHOOK, StoredInvocation.state == DUE)
        .order_by(col(StoredFiring.recorded), col(StoredInvocation.ordinal), col(StoredInvocation.position))
    )
    found: dict[Address, StoredInvocation] = {}
    for row in session.exec(statement.limit(_LOOKED_AT)):
        found.setdefault(_address(row), row)
    return found


def _address(row: StoredInvocation) -> Address:
    return row.arguments.get("url"), row.arguments.get("notifier")
