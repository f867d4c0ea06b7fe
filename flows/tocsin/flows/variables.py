"""Variables: values by name that flows and deployments share. They are no secrets: for those there are blocks."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows.awaited import awaited
from tocsin.flows.book import Book
from tocsin.flows.context import flow_context
from tocsin.flows.ledger import current
from tocsin.flows.request import Request
from tocsin.flows.serializers import same_after_json
from tocsin.flows.variable_tables import VariableRow
from tocsin.store.engine import insert_new

LARGEST: Final = 64_000
"""Characters of JSON that a value may have."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,254}")
_MISSING: Final = object()

# Any below: a value is any JSON.


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A value by name, as it stands on record."""

    name: str
    value: Any
    tags: list[str]
    created: datetime
    updated: datetime

    @staticmethod
    def get(name: str, default: Any = _MISSING) -> Any:
        """The value; `default` when there is none of this name, else NotFound naming the known ones."""
        try:
            found: Variable = _book().ask(FindVariable(name=name))
        except NotFound:
            if default is _MISSING:
                raise
            return default
        return found.value

    @staticmethod
    def set(name: str, value: Any, tags: str | Sequence[str] = (), overwrite: bool = False) -> "Variable":
        """Store a JSON value under `name`; the variable.

        Raises Conflict for a name that is taken, unless `overwrite`; Invalid for a name or a value that cannot be kept.
        """
        book = _book()
        checked(name, value)
        now, written = book.clock.now(), uuid7()
        listed = [tags] if isinstance(tags, str) else list(tags)
        put = PutVariable(name=name, value=value, tags=listed, overwrite=overwrite, written=written, now=now)
        made: Variable = book.ask(put)
        return made

    @staticmethod
    def unset(name: str) -> bool:
        """Forget the variable; whether there was one."""
        gone: bool = _book().ask(RemoveVariable(name=name))
        return gone

    aget = staticmethod(awaited(get))
    aset = staticmethod(awaited(set))  # noqa: A003 - the method above
    aunset = staticmethod(awaited(unset))


class FindVariable(Request, frozen=True, kw_only=True):
    """The variable of this name. Raises NotFound naming the known ones."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = Variable

    name: str

    def perform(self, session: Session) -> Variable:
        """Carry it out."""
        return get_variable(session, self.name)


class PutVariable(Request, frozen=True, kw_only=True):
    """Store a value; `written`: the id of this writing, by which a repeat is known."""

    answer: ClassVar[Any] = Variable

    name: str
    value: Any
    tags: list[str]
    overwrite: bool
    written: UUID
    now: datetime

    def perform(self, session: Session) -> Variable:
        """Carry it out. Raises Conflict for a name that is taken."""
        checked(self.name, self.value)
        text = json.dumps(self.value)
        row = {"name": self.name, "value": text, "tags": self.tags, "written": self.written}
        insert_new(session, VariableRow, [{**row, "created": self.now, "updated": self.now}])
        kept = session.exec(select(VariableRow).where(VariableRow.name == self.name).with_for_update()).one()
        if kept.written != self.written and not self.overwrite:
            way_out = "set it with overwrite=True (--overwrite) to change it"
            raise Conflict(f'there is a variable "{self.name}" already; {way_out}')
        if kept.written != self.written:
            kept.value, kept.tags, kept.written, kept.updated = text, self.tags, self.written, self.now
            session.add(kept)
        return _read(kept)


class RemoveVariable(Request, frozen=True, kw_only=True):
    """Forget a variable; whether there was one."""

    answer: ClassVar[Any] = bool

    name: str

    def perform(self, session: Session) -> bool:
        """Carry it out."""
        row = session.get(VariableRow, self.name)
        if row is not None:
            session.delete(row)
        return row is not None


def get_variable(session: Session, name: str) -> Variable:
    """The variable of this name. Raises NotFound naming the known ones."""
    row = session.get(VariableRow, name)
    if row is None:
        known = session.exec(select(VariableRow.name).order_by(col(VariableRow.name)).limit(20)).all()
        raise NotFound(f'unknown variable "{name}"; known: {", ".join(known) or "none"}')
    return _read(row)


def list_variables(session: Session, tag: str | None = None) -> list[Variable]:
    """Variables by name; those with this tag."""
    rows = session.exec(select(VariableRow).order_by(col(VariableRow.name)))
    return [_read(row) for row in rows if tag is None or tag in row.tags]


def values(session: Session) -> dict[str, Any]:
    """Every variable's value by name: what `{{ variables.name }}` in a deployment's parameters means."""
    return {variable.name: variable.value for variable in list_variables(session)}


def checked(name: str, value: Any) -> None:
    """Raise Invalid for a name or a value that cannot be kept."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"variable name {name!r}: lower case letters, digits, dashes and underscores, at most 255")
    if not same_after_json(value):
        raise Invalid(f'variable "{name}": a value is JSON (text, finite numbers, lists, dicts with texts as keys)')
    if (length := len(json.dumps(value))) > LARGEST:
        raise Invalid(f'variable "{name}": {length:,} characters of JSON, at most {LARGEST:,} can be kept')


def _read(row: VariableRow) -> Variable:
    value = json.loads(row.value)
    return Variable(name=row.name, value=value, tags=list(row.tags), created=row.created, updated=row.updated)


def _book() -> Book:
    flow = flow_context.get()
    return flow.ledger if flow else current()
