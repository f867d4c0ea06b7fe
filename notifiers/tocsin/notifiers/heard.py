"""What a channel's own people do, carried out here: the newest word of each incident counts, in the caller's
transaction."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.notifiers import past
from tocsin.notifiers.acts import act
from tocsin.notifiers.channel_tables import Heard
from tocsin.notifiers.pagerduty_webhook import Word, stale
from tocsin.notifiers.tables import Incident
from tocsin.store.engine import insert_new

PREFIX: Final = "tocsin/"


def hear(session: Session, receiver: str, word: Word, now: datetime) -> str:
    """Carry out what was done about an incident where `receiver` tells of it; what came of that, in a few words.

    Nothing comes of a word about what that receiver was never told, nor of one that is old or was heard before.
    """
    incident = _incident(session, word.key)
    if incident is None or not past.was_concerned(session, incident.id, receiver):
        return "no incident of ours has its key"
    if word.act is None:
        return word.reason
    known = _known(session, receiver, incident.id, word)
    if reason := stale(word, now, None if known.word == "" else (known.word, known.occurred)):
        return reason
    known.word, known.occurred = word.id, word.occurred
    session.add(known)
    act(session, incident.id, word.act, now)
    return "done"


def _incident(session: Session, key: str) -> Incident | None:
    """The newest incident with this dedup key. It is made from the incident's id, or from its key's when news."""
    try:
        id = UUID(hex=key.removeprefix(PREFIX))  # noqa: A001 - it is the row's id
    except ValueError:
        return None
    newest = select(Incident).where(Incident.key_id == id).order_by(col(Incident.episode).desc()).limit(1)
    found = session.get(Incident, id) or session.exec(newest).first()
    return found if found is not None and found.dedup_key == key else None


def _known(session: Session, receiver: str, incident: UUID, word: Word) -> Heard:
    """What was heard of it before, locked; a row with an empty word when nothing was."""
    first = {"receiver": receiver, "incident_id": incident, "word": "", "occurred": word.occurred}
    insert_new(session, Heard, [first])
    mine = select(Heard).where(Heard.receiver == receiver, Heard.incident_id == incident).with_for_update()
    return session.exec(mine.execution_options(populate_existing=True)).one()
