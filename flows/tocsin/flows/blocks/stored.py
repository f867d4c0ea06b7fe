"""Blocks on record: what their rows say, in the caller's session. Nothing here opens a secret that it need not."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.block_tables import BlockRow, BlockTypeRow
from tocsin.flows.blocks import documents
from tocsin.flows.portable import MASK
from tocsin.store.secrets import unseal
from tocsin.store.tables import SecretRow
from tocsin.store.vault import is_known, open_value, remove_value

SECRET_TYPE = "secret"  # noqa: S105 - the type of blocks that are secrets by name
DEEPEST = 16
"""How many blocks may stand inside one another."""

# Any below: JSON.


class Shown(msgspec.Struct, frozen=True):
    """A block as people may see it: secrets covered."""

    type: str
    name: str
    fields: dict[str, Any]
    created: datetime
    updated: datetime


def open_block(session: Session, slug: str, name: str, trail: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """The fields of a block, secrets open, with those of the blocks that it refers to.

    Raises NotFound, and Invalid without the key, or for blocks that refer to one another in a circle.
    """
    if slug == SECRET_TYPE:
        return {"value": {documents.SECRET: open_value(session, name)}}
    fields: dict[str, Any] = documents.opened(json.loads(_row(session, slug, name).document), unseal)
    return resolved(session, fields, (*trail, (slug, name)))


def resolved(session: Session, fields: dict[str, Any], trail: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The fields with those of the blocks that they refer to; `trail`: the blocks around them."""

    def change(found: dict[str, Any]) -> Any | None:
        if documents.BLOCK not in found:
            return None
        slug, name = found[documents.BLOCK]
        if (slug, name) in trail or len(trail) >= DEEPEST:
            raise Invalid(f"block {' → '.join(map('/'.join, (*trail, (slug, name))))}: it contains itself")
        return {documents.BLOCK: [slug, name], "fields": open_block(session, slug, name, trail)}

    made: dict[str, Any] = documents.mapped(fields, change)
    return made


def list_blocks(session: Session, slug: str | None = None) -> list[Shown]:
    """Blocks by type and name, secrets by name among them."""
    rows = select(BlockRow).order_by(col(BlockRow.type), col(BlockRow.name))
    rows = rows if slug is None else rows.where(BlockRow.type == slug)
    found = [_shown(row) for row in session.exec(rows)]
    if slug in (None, SECRET_TYPE):
        found += [_secret(row) for row in session.exec(select(SecretRow))]
    return sorted(found, key=lambda one: (one.type, one.name))


def show_block(session: Session, slug: str, name: str) -> Shown:
    """One block, secrets covered. Raises NotFound naming the known ones."""
    if slug == SECRET_TYPE and (row := session.get(SecretRow, name)) is not None:
        return _secret(row)
    return _shown(_row(session, slug, name))


def list_types(session: Session) -> Sequence[BlockTypeRow]:
    """The classes of blocks on record, by slug."""
    return session.exec(select(BlockTypeRow).order_by(col(BlockTypeRow.slug))).all()


def remove_block(session: Session, slug: str, name: str) -> None:
    """Forget a block. Raises NotFound, and Invalid while another block refers to it."""
    if slug == SECRET_TYPE and is_known(session, name):
        remove_value(session, name)
        return
    row = _row(session, slug, name)
    if users := block_users(session, slug, name):
        raise Invalid(f"block {slug}/{name} is referred to by {', '.join(users)}; change or remove those first")
    session.delete(row)
    session.flush()


def block_users(session: Session, slug: str, name: str) -> tuple[str, ...]:
    """The blocks that refer to the one of this type and name."""
    likely = select(BlockRow).where(col(BlockRow.document).contains(documents.BLOCK, autoescape=True))
    rows = session.exec(likely.order_by(col(BlockRow.type), col(BlockRow.name)))
    return tuple(
        f"{row.type}/{row.name}" for row in rows if (slug, name) in documents.references(json.loads(row.document))
    )


def _row(session: Session, slug: str, name: str) -> BlockRow:
    row = session.get(BlockRow, (slug, name))
    if row is None:
        known = [one.name for one in list_blocks(session, slug)]
        raise NotFound(
            f"no block {slug}/{name}; {_others(known) if known else f'there is none of type {slug}'}; "
            "save one, or create it with `tocsin block create`"
        )
    return row


def _others(known: list[str]) -> str:
    return f"known: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}"


def _shown(row: BlockRow) -> Shown:
    fields = {name: documents.shown(part, name) for name, part in json.loads(row.document).items()}
    return Shown(row.type, row.name, fields, row.created, row.updated)


def _secret(row: SecretRow) -> Shown:
    return Shown(SECRET_TYPE, row.name, {"value": MASK}, row.created, row.updated)
