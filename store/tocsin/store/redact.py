"""One redactor over the secrets that this process knows, in front of logs, rows and answers.

A secret is learned when it is read: by its name, with a notifier, with a block of a flow. Whatever is then written
passes `redact`: the value itself, and the forms in which it travels (URL-quoted, inside JSON, in base64, the parts of a
URL that are a credential), becomes `(redacted)`.
"""

import json
import logging
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK: Final = "(redacted)"
SHORTEST: Final = 6  # characters
FEW: Final = 60
"""So many forms are looked for one by one; of more only those whose beginning is in the text."""


class Redactor:
    """A growing set of secrets, and the text without them. Safe for threads, quick with a thousand of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._longest_first: tuple[str, ...] = ()
        self._by_head: dict[str, tuple[str, ...]] = {}

    def learn(self, *secrets: str) -> None:
        """From now on take these out; a value under 6 characters is left alone, it would hit everything."""
        found = {form for secret in secrets if secret not in self._known for form in _forms(secret)}
        with self._lock:
            if not (fresh := found - self._known):
                return
            heads = dict(self._by_head)
            for form in fresh:
                heads[form[:SHORTEST]] = (*heads.get(form[:SHORTEST], ()), form)
            self._known |= fresh
            self._longest_first = tuple(sorted(self._known, key=len, reverse=True))
            self._by_head = heads

    def redact(self, text: str) -> str:
        """`text` with every known secret masked."""
        for form in self._candidates(text):
            if form in text:
                text = text.replace(form, MASK)
        return text

    def _candidates(self, text: str) -> Sequence[str]:
        """The forms that `text` may hold, the longest first."""
        if len(text) < SHORTEST or len(self._longest_first) <= FEW:
            return self._longest_first if len(text) >= SHORTEST else ()
        heads = self._by_head
        met = {text[start : start + SHORTEST] for start in range(len(text) - SHORTEST + 1)} & heads.keys()
        return sorted((form for head in met for form in heads[head]), key=len, reverse=True) if met else ()


def _forms(secret: str) -> frozenset[str]:
    whole = {secret, secret.removeprefix("whsec_")} | _url_parts(secret)
    forms = (form for part in whole for form in _written(part))
    return frozenset(form for form in forms if len(form) >= SHORTEST and form not in MASK)


def _written(part: str) -> Iterator[str]:
    """`part` as it is, and in each form in which something writes it."""
    yield from (part, quote(part), quote(part, safe=""), quote_plus(part))
    yield from (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1])
    if len(part) >= SHORTEST:
        yield from _base64(part.encode("utf-8", "surrogatepass"))


def _base64(secret: bytes) -> Iterator[str]:
    """The characters that base64 makes of `secret` alone, wherever in a text it stands (`user:password`)."""
    for before in range(3):
        text = b64encode(b"\0" * before + secret).decode().rstrip("=")
        sure = text[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        if len(sure) >= SHORTEST:
            yield sure


def _url_parts(secret: str) -> set[str]:
    if "://" not in secret:
        return set()
    try:
        url = urlsplit(secret)
    except ValueError:
        return set()
    longest = max(url.path.split("/"), key=len)
    query = {value for pair in url.query.split("&") if len(value := pair.partition("=")[2]) >= 16}
    passwords = {url.password, unquote(url.password)} if url.password else set()
    return {part for part in (url.path, longest) if len(part) >= 16} | query | passwords


_known = Redactor()


def learn(*secrets: str) -> None:
    """Teach the process's redactor."""
    _known.learn(*secrets)


def redact(text: str) -> str:
    """`text` without any secret that this process knows."""
    return _known.redact(text)


class RedactingFilter(logging.Filter):
    """Masks secrets in every record that passes: its message, its arguments, its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes on."""
        record.msg = redact(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def redacted_logger(name: str) -> logging.Logger:
    """The logger of this name, with the redactor in front of whatever it hands on."""
    logger = logging.getLogger(name)
    if not any(isinstance(known, RedactingFilter) for known in logger.filters):
        logger.addFilter(RedactingFilter())
    return logger
