"""One redactor over the secrets that this process knows, in front of logs, rows and answers.

A secret is learned when a notifier block is read. Whatever is then written passes `redact`: the value itself, and the
forms in which it travels (URL-quoted, inside JSON, the path of a URL that is a credential), becomes `(redacted)`.
"""

import json
import logging
import re
import threading
from urllib.parse import quote, urlsplit

MASK = "(redacted)"
SHORTEST = 6  # characters


class Redactor:
    """A growing set of secrets, and the text without them. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, *secrets: str) -> None:
        """From now on take these out; a value under 6 characters is left alone, it would hit everything."""
        forms = self._forms.union(*(_forms(secret) for secret in secrets))
        if forms == self._forms:
            return
        with self._lock:
            self._forms |= forms
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        """`text` with every known secret masked."""
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text


def _forms(secret: str) -> frozenset[str]:
    whole = {secret, secret.removeprefix("whsec_")} | _url_parts(secret)
    return frozenset(
        form
        for part in whole
        for form in (part, quote(part), quote(part, safe=""), json.dumps(part)[1:-1])
        if len(form) >= SHORTEST
    )


def _url_parts(secret: str) -> set[str]:
    if "://" not in secret:
        return set()
    url = urlsplit(secret)
    longest = max(url.path.split("/"), key=len)
    query = {value for pair in url.query.split("&") if len(value := pair.partition("=")[2]) >= 16}
    passwords = {url.password} if url.password else set()
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
