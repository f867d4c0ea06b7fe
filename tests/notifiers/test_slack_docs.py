"""docs/slack.md: its Python runs, its manifest asks for what is used, its limits are those of the code."""

import re
from pathlib import Path

import yaml

from tocsin.notifiers import slack, slack_message
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.registry import get_notifier
from tocsin.store.engine import Store

PAGE = (Path(__file__).parents[2] / "docs" / "slack.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_of_the_page_run() -> None:
    page: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/slack.md", "exec"), page)  # the page's own code
    store = page["store"]
    assert isinstance(store, Store)
    with store.read() as session:
        kept = get_notifier(session, "oncall")
    assert isinstance(kept, Slack)
    assert kept.signing_secret is not None
    assert kept.app_token is None
    store.close()


def test_the_manifest_asks_for_what_is_used() -> None:
    (manifest,) = (yaml.safe_load(block) for block in blocks("yaml"))
    assert manifest["oauth_config"]["scopes"]["bot"] == ["chat:write", "channels:history", "groups:history"]
    assert manifest["settings"]["interactivity"]["request_url"].endswith("/api/slack/interactivity/oncall")


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"at most {slack.UPDATES} of them a minute" in PAGE
    assert f"at most {slack.PLAIN_UPDATES} for plain news" in PAGE
    sizes = (slack_message.HEADER, slack_message.SECTION, slack_message.FIELD)
    assert f"| {', '.join(f'{size:,}' for size in sizes)} characters after escaping |" in PAGE
    assert f"| {slack_message.FIELDS}, {slack_message.ITEMS_SHOWN}, and then" in PAGE
