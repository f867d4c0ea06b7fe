"""What is asked of the book about artifacts: a new version, a step of a progress, a look at what there is."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, delete, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows import results
from tocsin.flows.artifact_tables import ArtifactRow
from tocsin.flows.request import Request
from tocsin.store import log
from tocsin.store.engine import insert_new

CREATED: Final = "tocsin.artifact.created"
_ID_BEGUN: Final = re.compile(r"[0-9a-f-]{8,36}")

# Any below: the body of an artifact is JSON.


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an artifact as it is read. `body`: text, a table's columns and rows, an address, a percentage."""

    id: UUID
    key: str | None
    type: str
    description: str
    body: Any
    size: int
    flow_run_id: UUID | None
    task_run_id: UUID | None
    created: datetime
    updated: datetime


class CreateArtifact(Request, frozen=True, kw_only=True):
    """Store a new version. `labels`: of the event's resource; `related`: the run at hand and what it belongs to."""

    answer: ClassVar[Any] = None

    id: UUID
    key: str | None
    kind: str
    description: str
    body: str | None
    reference: dict[str, Any] | None
    size: int
    flow_run_id: UUID | None
    task_run_id: UUID | None
    labels: dict[str, str]
    related: list[dict[str, str]]
    now: datetime

    def perform(self, session: Session) -> None:
        """Carry it out; the event tells of it once."""
        same = ("id", "key", "description", "body", "reference", "size", "flow_run_id", "task_run_id")
        row = {name: getattr(self, name) for name in same}
        if insert_new(session, ArtifactRow, [{**row, "type": self.kind, "created": self.now, "updated": self.now}]):
            log.append(session, [self._event()])

    def _event(self) -> Event:
        name = self.key or str(self.id)
        return Event(
            id=derive("artifact-created", self.id),
            event=CREATED,
            occurred=self.now,
            resource={RESOURCE_ID: f"tocsin.artifact.{name}", RESOURCE_NAME: name, **self.labels},
            related=self.related,
            payload={
                "id": str(self.id),
                "key": self.key,
                "type": self.kind,
                "description": self.description[:500],
                "size": self.size,
            },
        )


class UpdateProgress(Request, frozen=True, kw_only=True):
    """Set the progress of an artifact; one that was set later stays. Raises NotFound, Invalid for another type."""

    answer: ClassVar[Any] = None

    id: UUID
    progress: float
    description: str | None
    now: datetime

    def perform(self, session: Session) -> None:
        """Carry it out."""
        row = session.get(ArtifactRow, self.id, with_for_update=True)
        if row is None:
            raise NotFound(f"no artifact has the id {self.id}")
        if row.type != "progress":
            raise Invalid(f"artifact {row.key or row.id} is a {row.type}; create a new version of it")
        if row.updated <= self.now:
            row.body, row.updated = json.dumps(self.progress), self.now
            row.description = row.description if self.description is None else self.description
            session.add(row)


class FindArtifacts(Request, frozen=True, kw_only=True):
    """Versions of an artifact, the newest first: of a key, or the one with this id."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = list[Artifact]

    name: str
    limit: int = 1

    def perform(self, session: Session) -> list[Artifact]:
        """Carry it out. Raises NotFound."""
        return [read_row(row) for row in versions(session, self.name, limit=self.limit)]


def versions(session: Session, name: str, *, limit: int = 1) -> Sequence[ArtifactRow]:
    """The versions that `name` means, the newest first: a key's, or the one of an id or of the beginning of one.

    Raises NotFound, and Invalid when several ids begin so.
    """
    statement = select(ArtifactRow).where(ArtifactRow.key == name).order_by(*_newest()).limit(limit)
    if found := session.exec(statement).all():
        return found
    if _ID_BEGUN.fullmatch(name):
        recent = session.exec(select(ArtifactRow.id).order_by(*_newest()).limit(10_000))
        ids = [one for one in recent if str(one).startswith(name)]
        if len(ids) > 1:
            raise Invalid(f"{len(ids)} artifacts have ids that begin with {name!r}; give more of it")
        if ids and (row := session.get(ArtifactRow, ids[0])) is not None:
            return [row]
    raise NotFound(f"no artifact has the key or the id {name!r}; `tocsin artifact ls` lists them")


def list_artifacts(
    session: Session,
    *,
    every: bool = False,
    type: str | None = None,  # noqa: A002 - the column's name
    flow_run_id: UUID | None = None,
    limit: int = 100,
) -> Sequence[ArtifactRow]:
    """Artifacts, the newest first: of each key the newest version, or `every` one."""
    statement = select(ArtifactRow).order_by(*_newest()).limit(limit)
    if type is not None:
        statement = statement.where(ArtifactRow.type == type)
    if flow_run_id is not None:
        statement = statement.where(ArtifactRow.flow_run_id == flow_run_id)
    if not every:
        statement = statement.where(_is_newest())
    return session.exec(statement).all()


def remove_artifacts(session: Session, name: str) -> int:
    """Forget every version of a key, or the one with this id; how many. Raises NotFound."""
    first = versions(session, name)[0]
    mine = col(ArtifactRow.key) == name if first.key == name else col(ArtifactRow.id) == first.id
    gone = session.connection().execute(delete(ArtifactRow).where(mine))
    return gone.rowcount


def read_row(row: ArtifactRow) -> Artifact:
    """The artifact with its body. Raises Unavailable when a large one is not where it was kept."""
    body = (
        json.loads(row.body) if row.reference is None and row.body is not None else results.fetch(row.reference or {})
    )
    fields = {name: getattr(row, name) for name in Artifact.__struct_fields__ if name != "body"}
    return Artifact(body=body, **fields)


def _newest() -> tuple[Any, Any]:  # Any: SQLAlchemy's orderings
    return col(ArtifactRow.created).desc(), col(ArtifactRow.id).desc()


def _is_newest() -> ColumnElement[bool]:
    """Whether no later version has the same key."""
    later = aliased(ArtifactRow)
    after = or_(
        col(later.created) > col(ArtifactRow.created),
        and_(col(later.created) == col(ArtifactRow.created), col(later.id) > col(ArtifactRow.id)),
    )
    return ~select(later.id).where(col(later.key) == col(ArtifactRow.key), after).exists()
