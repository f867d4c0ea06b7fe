"""Apprise: through its own client, against a server on loopback; and clear words where it is not installed."""

import json
import logging
import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.notifiers.conftest import MakeView
from tests.notifiers.test_email import VIEWS
from tocsin.events.errors import Invalid
from tocsin.notifiers import apprise as door
from tocsin.notifiers.apprise_message import fitted, render_apprise
from tocsin.notifiers.blocks import Apprise
from tocsin.notifiers.outcomes import Delivered, Unknown
from tocsin.notifiers.standins import Fail, Reset
from tocsin.notifiers.standins.loopback import Reply, Request, StandIn

GOLDEN = Path(__file__).parent / "golden"
TOKEN = "planted-apprise-token-0123456789"


class Sink(StandIn):
    """Takes whatever is posted."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        super().__init__()

    def answer(self, request: Request) -> Reply:
        """Keep the body."""
        self.bodies.append(request.json())
        return Reply(200)

    def refuse(self, word: str, request: Request) -> Reply:
        """400."""
        return Reply(400, word)


@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_payload_is_what_its_golden_file_says(view: str, minimal: bool, make_view: MakeView) -> None:
    body = render_apprise(make_view(**VIEWS[view]), minimal=minimal).body
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"apprise-{view}{'-minimal' if minimal else ''}.json"
    if os.environ.get("TOCSIN_TEST_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param((250, 4_000), ("title", "a body"), id="roomy"),
        pytest.param((3, 4), ("ti…", "a b…"), id="each to its limit"),
        pytest.param((0, 11), ("title", "a b…"), id="no titles: both share the room"),
        pytest.param((0, 4), ("tit…", ""), id="no room for more than the title"),
    ],
)
def test_a_service_gets_no_more_than_it_takes(limits: tuple[int, int], expected: tuple[str, str]) -> None:
    assert fitted("title", "a body", *limits) == expected


@pytest.mark.parametrize("url", ["no url", "", "tgram://", "://x"])
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError, match="URL of Apprise") as caught:
        Apprise.model_validate({"name": "a", "url": url})
    assert "no url" not in str(caught.value).replace("give a URL", "")


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "find_spec", lambda _: None)
    with pytest.raises(Invalid, match=r"pip install 'tocsin\[apprise\]'"):
        door.AppriseNotifier(Apprise(name="a", url=SecretStr("json://localhost")))


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    if find_spec("apprise") is None:
        pytest.skip("the extra apprise is not installed")
    with Sink() as opened:
        yield opened


@pytest.fixture
async def channel(sink: Sink) -> AsyncIterator[door.AppriseNotifier]:
    address = sink.address.removeprefix("http://")
    opened = door.AppriseNotifier(Apprise(name="a", url=SecretStr(f"json://{address}/{TOKEN}")))
    yield opened
    await opened.close()


async def test_messages_go_out_one_after_the_other_without_a_pause(
    sink: Sink, channel: door.AppriseNotifier, make_view: MakeView
) -> None:
    for action in ("trigger", "resolve", "trigger"):
        assert await channel.send(channel.render(make_view(action=action)), None) == Delivered()
    assert [body["title"] for body in sink.bodies][:2] == [
        "daily-order-etl failed",
        "Resolved: daily-order-etl failed",
    ]
    assert [body["type"] for body in sink.bodies] == ["failure", "success", "failure"]
    assert channel._service.request_rate_per_sec == 0


@pytest.mark.parametrize(
    "fault", [Fail(500), Fail(401, "no"), Fail(302, headers={"Location": "/"}), Reset(accept=True)]
)
async def test_a_no_may_have_arrived(
    sink: Sink, channel: door.AppriseNotifier, make_view: MakeView, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sink.fail(fault)
    with caplog.at_level(logging.DEBUG):
        outcome = await channel.send(channel.render(make_view()), None)
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith("Apprise: ")
    assert sink.requests == 1
    assert not [record for record in caplog.records if record.name == "apprise" and record.levelno < logging.WARNING]


def test_a_url_that_apprise_cannot_read_is_told(sink: Sink) -> None:
    with pytest.raises(Invalid, match="cannot read its URL") as caught:
        door.AppriseNotifier(Apprise(name="a", url=SecretStr(f"nonesuch://{TOKEN}")))
    assert TOKEN not in str(caught.value)
