"""Stand-ins for the channels, for tests of any room."""

from collections.abc import Iterator

import pytest

from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with SlackStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyStandIn]:
    with PagerDutyStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def receiver() -> Iterator[WebhookStandIn]:
    with WebhookStandIn() as stand_in:
        yield stand_in
