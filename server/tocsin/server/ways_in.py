"""Sources and hooks as API and command line put them on record and show them: the ways in for events of others."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.server import reads, views
from tocsin.store import positions
from tocsin.triggers import hooks, source_store
from tocsin.triggers.hook import hook_from
from tocsin.triggers.source import source_of
from tocsin.triggers.tables import Source

logger = structlog.get_logger(__name__)

# Any, in this file: what a client sent, before it is checked, and definitions as JSON.


def sources(session: Session) -> list[views.SourceView]:
    """Sources by name, and how many messages each has come past."""
    return [_shown(session, row) for row in source_store.list_rows(session)]


def source(session: Session, name: str) -> views.SourceView:
    """One source. Raises NotFound naming the known ones."""
    return _shown(session, source_store.get_row(session, name))


def put_source(session: Session, name: str, document: Mapping[str, Any], now: datetime) -> views.SourceView:
    """The source that a document describes, on record under `name`. Raises Invalid with the field."""
    source_store.apply(session, [source_of(named(name, document))], now)
    return source(session, name)


def put_hook(session: Session, name: str, document: Mapping[str, Any], now: datetime) -> views.HookView:
    """The hook that a document describes, on record under `name`. Raises Invalid with the fields.

    A secret that reads as its mask, as it is shown, stays what it is.
    """
    hook = hook_from(named(name, document))
    hooks.put_hook(session, hook, now)
    if hook.insecure:
        logger.warning("an insecure hook: anybody may post to it", hook=name)
    return reads.hook(session, name)


def named(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, with the name that its address gives. Raises Invalid when it says another one."""
    found = {"name": name, **document}
    if found["name"] != name:
        raise Invalid(f"the address says {name!r}, the document {str(found['name'])[:100]!r}")
    return found


def _shown(session: Session, row: Source) -> views.SourceView:
    handled = positions.offsets(session, source_of(row.spec).consumer)
    return views.SourceView(
        name=row.name,
        topic=row.spec["topic"],
        format=row.spec.get("format", "json"),
        config=row.spec,
        handled=sum(handled.values()),
        updated=row.updated,
    )
