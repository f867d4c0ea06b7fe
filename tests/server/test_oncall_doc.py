"""docs/oncall.md: every command of the page, run in its order on the night that it tells of, prints what it shows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import split
from typing import Any, Final
from uuid import UUID

import pytest
from pydantic import SecretStr

from tests.automations.parts import decided, define
from tocsin.automations.model import Automation
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.notifiers.blocks import PagerDuty, Slack, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.standins import Fail, PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.server.cli import main
from tocsin.store.engine import Store

PAGE: Final = Path(__file__).parents[2] / "docs" / "oncall.md"
ROUTE: Final[dict[str, Any]] = {
    "name": "oncall",
    "receivers": ["slack"],
    "group_by": ["team"],
    "group_wait": "30s",
    "escalation": [{"after": "15m", "receivers": ["pagerduty"]}],
    "routes": [{"name": "night", "match": {"severity": "critical", "team": "db"}, "receivers": ["pagerduty", "slack"]}],
}
RULES: Final[list[dict[str, Any]]] = [
    {
        "name": "etl-failed",
        "trigger": {"expect": ["tables.load-failed"], "for_each": ["tocsin.resource.id"]},
        "resolve_on": {"expect": ["tables.loaded"]},
        "severity": "critical",
        "labels": {"team": "{{ event.payload.team }}"},
        "actions": [{"type": "send-notification", "route": "oncall"}],
    },
    {
        "name": "archive",
        "trigger": {"expect": ["tables.load-failed"], "match": {"tocsin.resource.id": "clicks"}},
        "actions": [{"type": "send-notification", "notifier": "archive"}],
    },
]


def event(number: int, name: str, table: str, at: datetime, team: str = "") -> Event:
    identity = UUID(f"019d2f4a-5c0{number}-7000-8000-0000000000a{number}")
    return Event(
        id=identity,
        event=name,
        occurred=at,
        resource={"tocsin.resource.id": table},
        payload={"team": team} if team else {},
    )


async def a_night(
    store: Store, slack: SlackStandIn, pagerduty: PagerDutyStandIn, archive: WebhookStandIn, now: datetime
) -> None:
    """Two tables of one team fail, one of another team, one of a team that is silenced; and the archive is gone."""
    clock = ManualClock(now - timedelta(minutes=3))
    dispatcher = Dispatcher(store, clock)
    signing = SecretStr(archive.secret)
    with store.begin() as session:
        put_notifier(
            session, Slack(name="slack", token=SecretStr(slack.token), channel=slack.channel, api_url=slack.api_url)
        )
        put_notifier(
            session, PagerDuty(name="pagerduty", routing_key=SecretStr(pagerduty.routing_key), url=pagerduty.url)
        )
        put_notifier(
            session, Webhook(name="archive", url=SecretStr(archive.url), secret=signing, allow_private=(archive.host,))
        )
        put_route(session, Route.model_validate(ROUTE), clock.now())
        begin, end = clock.now(), now + timedelta(hours=4)
        search = read_matchers('team="search"')
        add_silence(session, search, starts=begin, ends=end, author="bob", comment="moving house", now=begin)
    define(store, *map(Automation.model_validate, RULES))
    archive.fail(Fail(410, "gone"))
    failed = [("orders", "db"), ("customers", "db"), ("clicks", "web"), ("index", "search")]
    events = [event(n, "tables.load-failed", table, clock.now(), team) for n, (table, team) in enumerate(failed, 1)]
    await decided(store, clock, *events, event(5, "tables.renamed", "orders", clock.now()))
    for _ in range(7):
        await dispatcher.run_due()
        clock.advance(timedelta(seconds=5))
    await dispatcher.run_due()
    await dispatcher.close()


@pytest.fixture
def night(home: Path) -> Iterator[None]:
    """The database of the settings, as the night has left it."""
    store = Store.open()
    with SlackStandIn() as slack, PagerDutyStandIn() as pagerduty, WebhookStandIn() as archive:
        asyncio.run(a_night(store, slack, pagerduty, archive, datetime.now(UTC)))
        store.close()
        yield


def said(run: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        run()
    printed = capsys.readouterr()
    return printed.out + printed.err


def settled(text: str) -> list[str]:
    """The lines without what is another one each time: times, milliseconds, the id of a new silence."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "<time>", text)
    text = re.sub(r"\d+ ms", "<ms>", text)
    text = re.sub(r"^id( +)[0-9a-f-]{36}$", r"id\1<id>", text, flags=re.MULTILINE)
    text = re.sub(r'"(opened|at|timestamp)":"[^"]*"', r'"\1":"<time>"', text)
    text = re.sub(r"<!date\^\d+\^[^>]*>", "<date>", text)
    return [re.sub(r"─+", "─", re.sub(r" +", " ", line)).strip() for line in text.strip().splitlines() if line.strip()]


@pytest.mark.usefixtures("night")
def test_the_page_shows_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```console\n\$ tocsin (.*?)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 12
    for words, shown in blocks:
        printed = said(lambda words=words: main(split(words)), capsys)  # type: ignore[misc]
        assert settled(shown) == settled(printed), words
