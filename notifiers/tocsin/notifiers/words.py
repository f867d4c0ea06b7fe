"""A word becomes deliveries: who is told what of an incident, put down in the caller's transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final
from uuid import UUID

from msgspec.structs import replace
from sqlmodel import Session, col, select

from tocsin.events.ids import derive
from tocsin.notifiers import past
from tocsin.notifiers.blocks import KINDS, AnyBlock
from tocsin.notifiers.case import Case, Word
from tocsin.notifiers.delivery import (
    OVER_BEFORE_TOLD,
    Decision,
    Known,
    on_acknowledge,
    on_repeat,
    on_resolve,
    on_trigger,
)
from tocsin.notifiers.line import Line
from tocsin.notifiers.node import STORM, Node
from tocsin.notifiers.picture import Picture, picture, view_of
from tocsin.notifiers.quiet import open_lines
from tocsin.notifiers.tables import Delivery, Incident, NotifierRow
from tocsin.notifiers.view import view_from_json, view_to_json
from tocsin.store.engine import insert_new
from tocsin.store.partial import among

CALLS: Final = 20
MINUTE: Final = timedelta(minutes=1)
IN_STORM: Final = "storm: its receiver is told of many at once"

_KINDS: Final = "tocsin.notifiers.kinds"
_CALLS: Final = "tocsin.notifiers.calls"


class Speech:
    """What is said of one incident in one move.

    `owed` and `spared` are who is told of the end, and to whom it was over before they were told; for the receivers
    in `storming` a storm speaks from now on.
    """

    def __init__(
        self, session: Session, incident: Incident, case: Case, node: Node, now: datetime, line: Line | None = None
    ) -> None:
        self._line = line
        self._session, self._incident, self._case, self._node, self._now = session, incident, case, node, now
        self.owed: list[str] = []
        self.spared: list[str] = []
        self.storming: list[str] = []

    @cached_property
    def looks(self) -> Picture:
        """The picture of the incident, made when somebody is to see it."""
        known = None if self._line is None else [self._line]
        return look(self._session, self._incident, self._node, self._now, known)

    def say(self, word: Word) -> None:
        """Put down what each of its receivers must learn."""
        for receiver in self._whom(word):
            if receiver in self._incident.storms:
                continue
            first = word.revision == 1 and word.to != "told"  # nothing was ever put down of it
            rows = [] if first else past.current(self._session, self._incident.id, receiver, word.revision)
            if any(row.revision == word.revision for row in rows):
                continue
            known = [] if first else past.known(self._session, self._incident, receiver, rows)
            decision = self._judge(word, receiver, known)
            if word.action == "resolve":
                (self.owed if decision.put_state == "pending" else self.spared).append(receiver)
            if decision.put == "trigger" and self._is_storm(receiver):
                self.storming.append(receiver)
                decision = Decision("trigger", "superseded", decision.supersede, IN_STORM)
            self._put(decision, word.revision, receiver, rows)

    def miss(self, receiver: str) -> None:
        """Note that `receiver` was never told and never will be: its word came after the end."""
        if not past.was_concerned(self._session, self._incident.id, receiver):
            decision = Decision("trigger", "superseded", reason=OVER_BEFORE_TOLD)
            self._put(decision, self._incident.revision, receiver, ())

    def _whom(self, word: Word) -> list[str]:
        match word.to:
            case "told":
                return past.receivers(self._session, self._incident.id)
            case "all":
                told = past.receivers(self._session, self._incident.id)
                return sorted({*told, *self._node.receivers})
            case names:
                return list(dict.fromkeys(names))

    def _judge(self, word: Word, receiver: str, known: Sequence[Known]) -> Decision:
        block = block_of(self._session, receiver)
        updates, acknowledges = (block.updates, block.acknowledges) if block else (False, False)
        match word.action:
            case "resolve":
                return on_resolve(known)
            case "acknowledge":
                shown_there = acknowledges and receiver == word.via
                return Decision() if shown_there else on_acknowledge(known, updates, acknowledges)
            case "repeat":
                return on_repeat(known)
            case "update" if word.again and acknowledges:
                return on_repeat(known)
            case "trigger" if word.again:
                return on_repeat(known)
            case _:
                return on_trigger(known, updates)

    def _is_storm(self, receiver: str) -> bool:
        """Whether this is one call too many within a minute."""
        if self._incident.route == STORM or (most := _most(self._session, receiver)) is None:
            return False
        called = _called(self._session, receiver, most, self._now)
        called.add(self._incident.id)
        return len(called) > most

    def _put(self, decision: Decision, revision: int, receiver: str, rows: Sequence[Delivery]) -> None:
        waiting = [row for row in rows if row.revision in decision.supersede]
        for row in waiting:
            row.state, row.reason, row.updated = "superseded", decision.reason, self._now
            self._session.add(row)
        if decision.put is None:
            return
        id = derive("delivery", self._incident.id, receiver, revision)  # noqa: A001 - it is the row's id
        view = view_of(
            id, self._incident, self._case, self._node, self.looks, receiver, decision.put, revision, self._now
        )
        delivery = Delivery(
            id=id,
            incident_id=self._incident.id,
            receiver=receiver,
            revision=revision,
            action=decision.put,
            state=decision.put_state,
            due=self._now,
            since=min([self._now, *(row.since for row in waiting if not row.maybe_told)]),
            view=view_to_json(view),
            reason=decision.reason if decision.put_state == "superseded" else None,
            updated=self._now,
        )
        insert_new(self._session, Delivery, [delivery.model_dump()])


def reword(session: Session, incident: UUID, receiver: str, subject: str, body: str) -> None:
    """The same end in a receiver's own words, as long as it was not tried to tell it."""
    for row in past.current(session, incident, receiver):
        if row.action == "resolve" and row.state == "pending" and row.tries == 0:
            row.view = view_to_json(replace(view_from_json(row.view), subject=subject, body=body))
            session.add(row)


def look(
    session: Session, incident: Incident, node: Node, now: datetime, known: Sequence[Line] | None = None
) -> Picture:
    """The incident as people should see it at `now`: without what is silenced in it. `known`: all lines of it."""
    listed = open_lines(session, incident.id, node, now)
    if listed is None:
        return picture(session, incident, known)
    return picture(session, incident, listed.shown, listed.hidden, listed.again)


def block_of(session: Session, receiver: str) -> type[AnyBlock] | None:
    """The kind of the notifier; None for one that is gone."""
    kind, _ = _notifiers(session).get(receiver, ("", None))
    return KINDS.get(kind)


def known_notifiers(session: Session) -> Collection[str]:
    """The names of all notifiers, looked up once a transaction."""
    return _notifiers(session).keys()


def _most(session: Session, receiver: str) -> int | None:
    """How many incidents a minute may call this receiver before they are a storm; None: any number."""
    return _notifiers(session).get(receiver, ("", CALLS))[1]


def _notifiers(session: Session) -> dict[str, tuple[str, int | None]]:
    """Name to kind and how many calls a minute are a storm."""
    if _KINDS not in session.info:
        rows = session.exec(select(NotifierRow.name, NotifierRow.kind, NotifierRow.config)).all()
        session.info[_KINDS] = {name: (kind, config.get("storm", CALLS)) for name, kind, config in rows}
    found: dict[str, tuple[str, int | None]] = session.info[_KINDS]
    return found


def _called(session: Session, receiver: str, most: int, now: datetime) -> set[UUID]:
    """The incidents that have called the receiver within the last minute, or as many of them as make a storm."""
    cached: dict[tuple[str, datetime], set[UUID]] = session.info.setdefault(_CALLS, {})
    if (receiver, now) not in cached:
        calls = select(Delivery.incident_id).where(
            Delivery.receiver == receiver,
            among(Delivery.action, "trigger"),
            col(Delivery.since) > now - MINUTE,
        )
        cached[receiver, now] = set(session.exec(calls.distinct().limit(most + 1)))
    return cached[receiver, now]
