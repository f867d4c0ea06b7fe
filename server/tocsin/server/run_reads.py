"""Which flow runs the API and the command line list."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, literal, select, text
from sqlalchemy import exists as some
from sqlmodel import Session, SQLModel

from tocsin.events.errors import Invalid
from tocsin.flows.states import StateType
from tocsin.flows.tables import FlowRun
from tocsin.server.views import RunView

_TABLE: Final = SQLModel.metadata.tables[str(FlowRun.__tablename__)]
NAMES: Final = (
    *("Scheduled", "Late", "AwaitingRetry", "AwaitingSlot", "Resuming", "Pending", "Running", "Retrying", "Paused"),
    *("Suspended", "Cancelling", "Completed", "Cached", "Failed", "TimedOut", "UpstreamFailed", "Crashed", "Cancelled"),
)
"""The names of states that tocsin itself gives; a person may give others."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs; everything that is given must fit.

    `state`: a type (FAILED) or a name (AwaitingRetry), in any case. `name`: of the run, `*` for any characters.
    `since`: made then or later; `before`: made before.
    """

    state: str | None = None
    name: str | None = None
    deployment: str | None = None
    flow: str | None = None
    tag: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def runs(session: Session, wanted: Wanted | None = None, *, limit: int = 50) -> list[RunView]:
    """Flow runs, newest first. Raises Invalid for a time without a zone."""
    where = _conditions(wanted or Wanted(), session.get_bind().dialect.name)
    newest = select(_TABLE).where(*where).order_by(_TABLE.c.created.desc(), _TABLE.c.id.desc()).limit(limit)
    return [RunView.model_validate(dict(row)) for row in session.connection().execute(newest).mappings()]


def _conditions(wanted: Wanted, dialect: str) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        found.append(_in_state(wanted.state))
    if wanted.name is not None:
        found.append(_TABLE.c.name.like(_pattern(wanted.name), escape="\\"))
    if wanted.deployment is not None:
        found.append(_TABLE.c.deployment == wanted.deployment)
    if wanted.flow is not None:
        found.append(_TABLE.c.flow_name == wanted.flow)
    if wanted.tag is not None:
        found.append(_has_tag(wanted.tag, dialect))
    if wanted.since is not None:
        found.append(_TABLE.c.created >= _aware(wanted.since))
    if wanted.before is not None:
        found.append(_TABLE.c.created < _aware(wanted.before))
    return found


def is_known_state(asked: str) -> bool:
    """Whether it is a type or a name that tocsin itself gives, in any case."""
    return asked.upper() in StateType.__members__ or asked.lower() in {name.lower() for name in NAMES}


def _in_state(asked: str) -> ColumnElement[bool]:
    """In capitals a type; else the name, or the type when it is one, whatever the name."""
    known = next((name for name in NAMES if name.lower() == asked.lower()), asked)
    if asked.isupper() and asked in StateType.__members__:
        return _TABLE.c.state_type == asked
    if asked.upper() in StateType.__members__:
        return (_TABLE.c.state_name == known) | (_TABLE.c.state_type == asked.upper())
    return _TABLE.c.state_name == known


def _pattern(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _has_tag(tag: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return _TABLE.c.tags.op("@>")(func.jsonb_build_array(literal(tag)))
    each = func.json_each(_TABLE.c.tags).table_valued("value")
    return some(select(text("1")).select_from(each).where(each.c.value == tag))


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise Invalid(f"{instant.isoformat()}: no time zone; write Z or an offset")
    return instant
