"""A whole incident as a channel sees it: route, outbox, dispatcher, Slack, and back through its buttons."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Escalate, Flap, Route
from tocsin.notifiers.slack_acts import Press, read_press
from tocsin.notifiers.standins import SlackStandIn
from tocsin.store.engine import Store

S = timedelta(seconds=1)
ONCALL = Route(
    name="oncall",
    receivers=("slack",),
    group_by=("team",),
    group_wait=30 * S,
    group_interval=300 * S,
    repeat_interval=3600 * S,
    resolve_wait=60 * S,
    flap=Flap(count=2, window=3600 * S, quiet=120 * S),
    escalation=(Escalate(after=900 * S, receivers=("slack",)),),
)


class Channel:
    """The route's channel: time passes in steps, and what is due is delivered at each."""

    def __init__(self, store: Store, clock: ManualClock, slack: SlackStandIn) -> None:
        self.office, self.slack, self.clock = Office(store, clock), slack, clock
        self._dispatcher = Dispatcher(store, clock, jitter=lambda: 0.5)
        self._seen = 0
        self.office.furnish(ONCALL)
        with store.begin() as session:
            token, signing = SecretStr(slack.token), SecretStr(slack.signing_secret)
            block = Slack(
                name="slack", token=token, channel=slack.channel, signing_secret=signing, api_url=slack.api_url
            )
            put_notifier(session, block)

    async def pass_time(self, seconds: int, step: int = 30) -> None:
        for _ in range(0, seconds, step):
            self.office.pass_time(step)
            await self._dispatcher.run_due()

    async def press(self, button: str, value: str | None = None) -> None:
        press = read_press(self.slack.payload(self.slack.messages[0], f"tocsin.{button}", value=value))
        assert isinstance(press, Press)
        self.office.act(press.incident, press.act)
        await self._dispatcher.run_due()

    def news(self) -> list[str]:
        """What the thread was told since the last question."""
        lines = [reply.text for reply in self.slack.thread(self.slack.messages[0])]
        new, self._seen = lines[self._seen :], len(lines)
        return new

    async def close(self) -> None:
        await self._dispatcher.close()


@pytest.fixture
async def channel(sqlite_url: str, clock: ManualClock, slack: SlackStandIn) -> AsyncIterator[Channel]:
    store = Store.open(sqlite_url, create=True)
    opened = Channel(store, clock, slack)
    yield opened
    await opened.close()
    store.close()


async def test_an_incident_from_its_first_alert_to_its_end(channel: Channel, slack: SlackStandIn) -> None:
    channel.office.fire("db1", "db2")
    await channel.pass_time(30)
    message = slack.messages[0]
    assert message.text == "🔴 2 alerts: team=db"
    assert message.buttons == ["tocsin.acknowledge", "tocsin.resolve", "tocsin.silence"]
    channel.office.fire("db3")
    await channel.pass_time(300, 60)
    assert channel.news() == ["3 alerts now, 2 before"]
    await channel.press("acknowledge")
    assert channel.news() == ["👀 Acknowledged by ann"]
    assert message.text == "👀 Acknowledged: 3 alerts: team=db"
    await channel.pass_time(7200, 300)
    assert channel.news() == []
    await channel.press("unacknowledge")
    assert channel.news() == ["Not acknowledged any more"]
    await channel.pass_time(900, 100)
    (escalated,) = channel.news()
    assert escalated.startswith("🔴 Still firing: 3 alerts: team=db\n⏫ escalated, step 1, after 2 h")
    await channel.pass_time(3600, 300)
    assert "🔁 still firing after 3 h" in channel.news()[-1]
    channel.office.over("db1", "db2", "db3")
    await channel.pass_time(120, 60)
    (over,) = channel.news()
    assert over.startswith("✅ Resolved after 3 h")
    assert message.buttons == []
    assert [reply.broadcast for reply in slack.replies] == ["Still firing" in reply.text for reply in slack.replies]
    assert len(slack.messages) == 1
    assert slack.violations == []


async def test_an_incident_that_comes_and_goes_is_said_to_flap(channel: Channel, slack: SlackStandIn) -> None:
    channel.office.fire("db1")
    await channel.pass_time(30)
    for _ in range(3):
        channel.office.over("db1")
        await channel.pass_time(30)
        channel.office.fire("db1")
        await channel.pass_time(30)
    await channel.pass_time(300, 60)
    assert len([line for line in channel.news() if line.startswith("〰️ Flapping")]) == 1
    assert slack.messages[0].text.startswith("🔴 Flapping: ")
    channel.office.over("db1")
    await channel.pass_time(300, 60)
    assert channel.news()[-1].startswith("✅ Resolved after")
    assert len(slack.messages) == 1


async def test_resolving_and_silencing_from_the_channel(channel: Channel, slack: SlackStandIn) -> None:
    channel.office.fire("db1", "db2")
    await channel.pass_time(30)
    await channel.press("silence", "1 hour")
    await channel.pass_time(300, 60)
    await channel.press("resolve")
    assert channel.news()[-1].startswith("✅ Resolved after")
    assert slack.messages[0].text.startswith("✅ Resolved: ")
    assert slack.violations == []
