"""What is asked of the book about blocks. Secrets travel open in a request and are sealed where it is carried out.

So the key stays with the database's owner; a request's text never shows its document.
"""

import json
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from sqlmodel import Session, select

from tocsin.events.errors import Conflict
from tocsin.flows.block_tables import BlockRow, BlockTypeRow
from tocsin.flows.blocks import documents
from tocsin.flows.blocks.stored import SECRET_TYPE, list_types, open_block, remove_block, resolved
from tocsin.flows.request import Request
from tocsin.store.engine import insert_new
from tocsin.store.secrets import seal
from tocsin.store.tables import SecretRow
from tocsin.store.vault import is_known, open_value, put_value

# Any below: JSON.


class Kind(msgspec.Struct, frozen=True):
    """A class of blocks, for show: where its code is, and the JSON schema of its fields."""

    slug: str
    entrypoint: str
    description: str
    fields: dict[str, Any]


class PutKind(Request, frozen=True, kw_only=True):
    """Put a class of blocks on record."""

    answer: ClassVar[Any] = None

    kind: Kind
    now: datetime

    def perform(self, session: Session) -> None:
        """Carry it out."""
        put_kind(session, self.kind, self.now)


class PutBlock(Request, frozen=True, kw_only=True):
    """Store a block: `document` is its fields as JSON text; by `written`, the id of this writing, a repeat is known."""

    answer: ClassVar[Any] = None

    kind: Kind
    name: str
    document: str
    overwrite: bool
    written: UUID
    now: datetime

    def __repr__(self) -> str:
        return f"PutBlock({self.kind.slug}/{self.name})"

    def perform(self, session: Session) -> None:
        """Carry it out. Raises Conflict for a name that is taken, NotFound for a reference to a block that is not."""
        slug = self.kind.slug
        document = json.loads(self.document)
        resolved(session, document, ((slug, self.name),))
        put_kind(session, self.kind, self.now)
        text = json.dumps(documents.sealed(document, seal))
        row = {"type": slug, "name": self.name, "document": text, "written": self.written}
        if insert_new(session, BlockRow, [{**row, "created": self.now, "updated": self.now}]):
            return
        there = select(BlockRow).where(BlockRow.type == slug, BlockRow.name == self.name).with_for_update()
        kept = session.exec(there).one()
        if kept.written == self.written:
            return
        if not self.overwrite:
            raise Conflict(taken(slug, self.name))
        kept.document, kept.written, kept.updated = text, self.written, self.now
        session.add(kept)


class OpenBlock(Request, frozen=True, kw_only=True):
    """The fields of a block as JSON text, secrets open, references followed. Raises NotFound, Invalid."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = str

    slug: str
    name: str

    def perform(self, session: Session) -> str:
        """Carry it out."""
        return json.dumps(open_block(session, self.slug, self.name))


class FindKinds(Request, frozen=True, kw_only=True):
    """Where the classes on record are, by type."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = dict[str, str]

    def perform(self, session: Session) -> dict[str, str]:
        """Carry it out."""
        return {row.slug: row.entrypoint for row in list_types(session)}


class RemoveBlock(Request, frozen=True, kw_only=True):
    """Forget a block. Raises NotFound, and Invalid while something refers to it."""

    answer: ClassVar[Any] = None

    slug: str
    name: str

    def perform(self, session: Session) -> None:
        """Carry it out."""
        remove_block(session, self.slug, self.name)


class PutSecret(Request, frozen=True, kw_only=True):
    """Put a secret by name, the one that notifiers refer to as well."""

    answer: ClassVar[Any] = None

    name: str
    value: str
    overwrite: bool
    now: datetime

    def __repr__(self) -> str:
        return f"PutSecret({self.name})"

    def perform(self, session: Session) -> None:
        """Carry it out. Raises Conflict when there is another value under this name, and `overwrite` is not given."""
        session.get(SecretRow, self.name, with_for_update=True)
        known = is_known(session, self.name)
        if known and open_value(session, self.name) == self.value:
            return
        if known and not self.overwrite:
            raise Conflict(taken(SECRET_TYPE, self.name))
        put_value(session, self.name, self.value, self.now)


def put_kind(session: Session, kind: Kind, now: datetime) -> None:
    """Put a class of blocks on record, when anything of it is new."""
    row = {**msgspec.structs.asdict(kind), "updated": now}
    if insert_new(session, BlockTypeRow, [row]):
        return
    known = session.get(BlockTypeRow, kind.slug)
    if known is not None and Kind(known.slug, known.entrypoint, known.description, known.fields) != kind:
        known.entrypoint, known.description, known.fields = kind.entrypoint, kind.description, kind.fields
        known.updated = now
        session.add(known)


def taken(slug: str, name: str) -> str:
    """The message for a name that is taken."""
    return f"there is a block {slug}/{name} already; save it with overwrite=True to put this in its place"
