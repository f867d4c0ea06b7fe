"""The redactor (`tocsin.store.redact`) in front of the libraries that channels are made of."""

from typing import Final

from tocsin.store.redact import (
    MASK,
    SHORTEST,
    RedactingFilter,
    Redactor,
    learn,
    redact,
    redacted_logger,
)

__all__ = ["MASK", "SHORTEST", "RedactingFilter", "Redactor", "guard_libraries", "learn", "redact", "redacted_logger"]

LIBRARIES: Final = (
    "aiohttp.access",
    "aiohttp.client",
    "aiohttp.internal",
    "aiosmtplib",
    "apprise",
    "asyncio",
    "charset_normalizer",
    "mail.log",
    "pdpyras",
    "requests",
    "requests_oauthlib",
    "slack_sdk",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
"""The loggers of what channels are made of, as far as they write."""


def guard_libraries() -> None:
    """Put the redactor in front of every logger of the libraries that channels are made of."""
    for name in LIBRARIES:
        redacted_logger(name)
