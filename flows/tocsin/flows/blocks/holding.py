"""What secrets by name ask of this room (`tocsin.store.vault`): which blocks refer to one. None holds a copy."""

from datetime import datetime

from sqlmodel import Session

from tocsin.flows.blocks.stored import SECRET_TYPE, block_users


def refit(session: Session, name: str, value: str, now: datetime) -> None:
    """Nothing to do: a block that refers to a secret reads it whenever the block is loaded."""


def users(session: Session, name: str) -> tuple[str, ...]:
    """The blocks that refer to the secret."""
    return tuple(f"block {user}" for user in block_users(session, SECRET_TYPE, name))
