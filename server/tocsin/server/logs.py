"""Logs: structlog over the standard library's, lines for people on a terminal, JSON elsewhere, secrets out last."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from tocsin.notifiers.redact import MASK, learn, redact
from tocsin.server.settings import Settings

_SECRET_NAME: Final = re.compile(
    r"(password|passwd|secret|token|api_?key|routing_?key|authorization|credential|cookie|signature|private_?key)", re.I
)
_URL_PASSWORD: Final = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.I)
_SLACK_HOOK: Final = re.compile(r"(?P<before>hooks\.slack\.com/(?:services|triggers|workflows)/)[\w/-]+", re.I)
_BEARER: Final = re.compile(r"(?P<before>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}", re.I)
_SLACK_TOKEN: Final = re.compile(r"(?P<before>\bxox[a-z]-|\bxapp-)[\w-]+", re.I)
_QUIET: Final = (
    "aiokafka",
    "kafka",
    "apscheduler",
    "asyncio",
    "uvicorn.access",
    "alembic",
    "faust",
    "slack_sdk",
    "urllib3",
)

# A log line's fields are whatever the caller named.
Fields = MutableMapping[str, Any]


class Redaction:
    """The last processor: hides values with telling names, passwords in URLs, tokens, and secrets the process knows."""

    def __call__(self, _logger: object, _method: str, fields: Fields) -> Fields:
        """The same line without secrets."""
        return {name: self._field(name, value) for name, value in fields.items()}

    def _field(self, name: str, value: Any) -> Any:
        telling = value and _SECRET_NAME.search(name) and not isinstance(value, int)
        return MASK if telling else self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(name): self._field(str(name), inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(inner) for inner in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float | None):
            return value
        return self.text(str(value))

    def text(self, line: str) -> str:
        """The same text without secrets."""
        for pattern in (_URL_PASSWORD, _SLACK_HOOK, _BEARER, _SLACK_TOKEN):
            line = pattern.sub(rf"\g<before>{MASK}", line)
        return redact(line)


def set_up(settings: Settings, role: str | None = None) -> None:
    """Send every log line of this process, the libraries' included, to stderr in the form the settings ask for."""
    people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    learn(*_secrets(settings))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_ending(people)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.clear_contextvars()
    if role:
        structlog.contextvars.bind_contextvars(role=role)


def _ending(people: bool) -> list[structlog.types.Processor]:
    # Tracebacks become text before the redaction, so that it reads them too.
    drop, trace = structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info
    if people:
        return [drop, trace, Redaction(), structlog.dev.ConsoleRenderer()]
    return [drop, trace, Redaction(), structlog.processors.JSONRenderer(ensure_ascii=False)]


def _secrets(settings: Settings) -> list[str]:
    held = [settings.key, settings.secret_key.get_secret_value() if settings.secret_key else None]
    whole = [settings.kafka_sasl_password, settings.kafka_ssl_key_password]
    keys = [part.strip() for text in held if text for part in text.split(",")]
    passwords = [urlsplit(settings.url).password] if settings.url else []
    return [*keys, *(secret.get_secret_value() for secret in whole if secret), *(one for one in passwords if one)]
