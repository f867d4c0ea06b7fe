"""Secrets at rest: sealed with a key that is kept outside the database."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tocsin.events.errors import Invalid
from tocsin.store.home import home

KEYS: Final = "TOCSIN_SECRET_KEY"


def seal(text: str) -> str:
    """`text` as a token that only the holder of the key can read (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _fernet().encrypt(text.encode()).decode()


def unseal(token: str) -> str:
    """The text in a token of `seal`. Raises `Invalid` when none of the keys fits."""
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise Invalid(
            f"a stored secret cannot be read with this key; set {KEYS} to the key it was sealed with"
        ) from error


def _fernet() -> MultiFernet:
    """The keys of the environment (comma separated, the first one seals), else the one in `secret.key`."""
    listed = os.environ.get(KEYS, "")
    keys = [key.strip() for key in listed.split(",") if key.strip()] or [_own_key(home() / "secret.key")]
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise Invalid(f"{KEYS}: a key is 32 random bytes in URL-safe base64 (44 characters)") from error


def _own_key(path: Path) -> str:
    """The key file of the embedded default, made at first use; two processes at once agree on one."""
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(Fernet.generate_key())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
