"""What keeps alerts quiet at the moment, read from the database and kept while it does not change."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from tocsin.notifiers import inhibitions
from tocsin.notifiers.routing_tables import SilenceRow
from tocsin.notifiers.silence import SilenceIndex
from tocsin.notifiers.silences import silence_of
from tocsin.notifiers.stamps import kept
from tocsin.notifiers.suppression import World

_WORLD: Final = "world"


def load_world(session: Session, now: datetime) -> World:
    """The silences and inhibitions on record, and what the alerts that fire hold.

    One look at one row while nothing changes, and one more query where there are inhibitions. Alerts that are only
    just being put down are added by `tocsin.notifiers.suppression.with_sources`.
    """
    world = kept(session, _WORLD, lambda session: _load(session, now))
    return replace(world, held=inhibitions.held(session)) if world.rules else world


def _load(session: Session, now: datetime) -> World:
    rows = session.exec(select(SilenceRow).where(col(SilenceRow.ends) > now)).all()
    return World(SilenceIndex(map(silence_of, rows)), inhibitions.rules(session))
