"""Secrets at rest: sealed with a key that is kept outside the database.

There may be several keys: all open, the first one seals. `tocsin.store.resealing` brings what is stored to the first.
"""

import hmac
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tocsin.events.errors import Invalid
from tocsin.store.home import home

KEYS: Final = "TOCSIN_SECRET_KEY"
FILE: Final = "secret.key"
TOKEN: Final = re.compile(r"gAAAA[A-Za-z0-9_-]{60,}={0,2}")
"""What `seal` makes, as far as its form tells."""


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


def is_newest(token: str) -> bool:
    """Whether `token` was sealed with the key that seals now."""
    try:
        _fernets()[0].decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def reseal(token: str) -> str:
    """The same text under the key that seals now; its time stays. Raises `Invalid` when none of the keys fits."""
    try:
        return MultiFernet(_fernets()).rotate(token.encode()).decode()
    except InvalidToken as error:
        raise Invalid(
            f"a stored secret cannot be read with any of the keys; give {KEYS} the one it has, too"
        ) from error


def signature(purpose: str, body: bytes) -> str:
    """What only the holder of the key can write under `body` (HMAC-SHA256, hexadecimal); another for each purpose."""
    return _signature(_keys()[0], purpose, body)


def is_signed(signed: str, purpose: str, body: bytes) -> bool:
    """Whether `signed` is the signature of `body` by any of the keys."""
    return any(hmac.compare_digest(signed, _signature(key, purpose, body)) for key in _keys())


def add_key() -> Path:
    """Put a new key before those of the key file, from now on it seals; where the file is.

    Raises `Invalid` when the keys come from the environment, where only you can put one.
    """
    if os.environ.get(KEYS, "").strip():
        raise Invalid(f"the keys come from {KEYS}; put a new one, of `tocsin secret new-key`, before them")
    path = home() / FILE
    before = _own_keys(path)
    _write(path.with_suffix(f".{os.getpid()}"), [new_key(), *before]).replace(path)
    return path


def new_key() -> str:
    """A key as `TOCSIN_SECRET_KEY` takes it: 32 random bytes in URL-safe base64."""
    return Fernet.generate_key().decode()


def _fernet() -> MultiFernet:
    return MultiFernet(_fernets())


def _fernets() -> list[Fernet]:
    """The keys of the environment (comma separated, the first one seals), else those in `secret.key`, one a line."""
    try:
        return [Fernet(key) for key in _keys()]
    except ValueError as error:
        raise Invalid(f"{KEYS}: a key is 32 random bytes in URL-safe base64 (44 characters)") from error


def _keys() -> list[str]:
    listed = os.environ.get(KEYS, "")
    return [key.strip() for key in listed.split(",") if key.strip()] or _own_keys(home() / FILE)


def _signature(key: str, purpose: str, body: bytes) -> str:
    own = hmac.digest(key.encode(), f"tocsin {purpose}".encode(), "sha256")  # what seals does not sign, too
    return hmac.digest(own, body, "sha256").hex()


def _own_keys(path: Path) -> list[str]:
    """The key file of the embedded default, made at first use; two processes at once agree on one."""
    if not path.exists():
        draft = _write(path.with_suffix(f".{os.getpid()}"), [new_key()])
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().split()


def _write(path: Path, keys: list[str]) -> Path:
    """The file, readable by its owner alone from the first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(keys) + "\n")
    return path
