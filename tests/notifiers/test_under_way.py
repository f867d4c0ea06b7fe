"""Many messages under way: whoever does not answer takes nobody else a place or a connection."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.notifiers.desk import Desk
from tocsin.events.clock import ManualClock
from tocsin.notifiers import dispatch
from tocsin.notifiers.blocks import Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.http import Door, Result
from tocsin.notifiers.standins import Hang, WebhookStandIn
from tocsin.store.engine import Store

LONG = timedelta(minutes=5)


class PatientDoor(Door):
    """Waits for an answer for longer than any test takes."""

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        allow: Sequence[str] = (),
        timeout: timedelta = LONG,
    ) -> Result:
        return await super().post(url, body, headers, allow=allow, timeout=timeout)


def webhook(name: str, at: WebhookStandIn) -> Webhook:
    """All under one allow-list, so that they share a pool of connections."""
    url, signing = SecretStr(at.url), SecretStr(at.secret)
    return Webhook(name=name, url=url, secret=signing, allow_private=("127.0.0.0/8",), storm=None)


async def test_receivers_that_hang_hold_up_nobody(
    store: Store, clock: ManualClock, receiver: WebhookStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "ATTEMPT", LONG)
    desk = Desk(store, clock, Dispatcher(store, clock, lease=2 * LONG, door=PatientDoor()))
    with WebhookStandIn() as hanging:
        hanging.fail(*[Hang()] * 2 * Webhook.at_once)
        desk.put(webhook("a", hanging), webhook("b", hanging), webhook("works", receiver))
        for number in range(Webhook.at_once):
            desk.fire("a", "b", key=f"k{number}")
        desk.fire("works", key="last")
        delivering = asyncio.create_task(desk.dispatcher.run_due())
        assert await asyncio.to_thread(hanging.wait, lambda: hanging.requests == 2 * Webhook.at_once, 60.0)
        assert await asyncio.to_thread(receiver.wait, lambda: bool(receiver.messages), 60.0)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await desk.dispatcher.close()
