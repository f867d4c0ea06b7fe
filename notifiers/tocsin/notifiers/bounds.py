"""Alerts as they may enter the database: cleaned, bounded, and without any secret that is known here."""

from typing import Final

from msgspec.structs import replace

from tocsin.notifiers.alert import Alert
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.redact import redact
from tocsin.notifiers.view import read_severity

KEY_SHOWN: Final = 1_000
TEXT: Final = 100_000
ITEMS: Final = 200
LABELS: Final = 500
VALUE: Final = 2_000


def bounded(alert: Alert) -> Alert:
    """The alert with texts that fit. Raises Invalid for a severity that is none."""
    severity = read_severity(alert.severity)
    if _fits(alert):
        return alert
    labels = alert.labels if len(alert.labels) <= LABELS else dict(sorted(alert.labels.items())[:LABELS])
    return replace(
        alert,
        severity=severity,
        subject=text(alert.subject, VALUE),
        body=text(alert.body, TEXT),
        labels={text(name, VALUE): text(value, VALUE) for name, value in labels.items()},
        items=tuple([text(item, VALUE) for item in alert.items[:ITEMS]]),
        total=max(alert.total, len(alert.items)),
    )


def _fits(alert: Alert) -> bool:
    """Whether nothing in the alert has to be changed: one look at all its texts together."""
    together = " ".join((alert.subject, alert.body, *alert.labels, *alert.labels.values(), *alert.items))
    plain = len(together) <= VALUE and together.isascii() and together.replace("\n", " ").isprintable()
    counted = len(alert.items) <= min(ITEMS, alert.total)
    return plain and counted and len(alert.labels) <= LABELS and redact(together) == together


def text(value: str, limit: int) -> str:
    """`value` cleaned, without secrets, and at most `limit` characters of it."""
    return cut(redact(clean(value)), limit)
