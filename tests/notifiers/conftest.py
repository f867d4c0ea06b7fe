"""Stand-ins for the channels, and a view to show."""

from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import pytest

from tocsin.notifiers.view import View

OPENED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class MakeView(Protocol):
    """Makes a view; any field may be given."""

    def __call__(self, **fields: Any) -> View: ...


@pytest.fixture
def make_view() -> MakeView:
    def make(**fields: Any) -> View:
        known: dict[str, Any] = {
            "delivery": UUID("018f0000-0000-7000-8000-000000000001"),
            "incident": UUID("018f0000-0000-7000-8000-0000000000aa"),
            "dedup_key": "tocsin/018f000000007000800000000000000aa"[:39],
            "revision": 1,
            "action": "trigger",
            "severity": "error",
            "subject": "daily-order-etl failed",
            "body": "12 % of the orders of 2026-03-01 have no customer.\nBudget: 10 %.",
            "labels": {"flow": "daily-order-etl", "environment": "production"},
            "opened": OPENED,
            "at": OPENED,
        }
        return View(**{**known, **fields})

    return make
