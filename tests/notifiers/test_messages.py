"""What leaves the house: golden files for every payload, and limits that no view breaks.

`TOCSIN_TEST_WRITE_GOLDEN=1` writes the files anew; read the difference before committing it.
"""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.notifiers.conftest import OPENED, MakeView
from tests.notifiers.wild_texts import texts, wild
from tocsin.notifiers import pagerduty_message, slack_message
from tocsin.notifiers.fit import clean, cut, cut_json, escape, top
from tocsin.notifiers.pagerduty_message import Signature, render_pagerduty
from tocsin.notifiers.slack_message import render_slack
from tocsin.notifiers.standins import pagerduty as pagerduty_standin
from tocsin.notifiers.standins.slack_contract import check_message, mentions
from tocsin.notifiers.view import Action, Message, Severity, View
from tocsin.notifiers.webhook_message import render_webhook

GOLDEN = Path(__file__).parent / "golden"
LATER = OPENED + timedelta(minutes=7)

VIEWS: dict[str, dict[str, Any]] = {
    "trigger": {},
    "update": {"action": "update", "revision": 2, "at": LATER, "subject": "daily-order-etl failed twice"},
    "resolve": {"action": "resolve", "revision": 3, "at": LATER},
    "acknowledge": {
        "action": "acknowledge",
        "revision": 2,
        "at": LATER,
        "state": "acknowledged",
        "acked_by": "Ada",
        "route": "oncall/etl",
        "level": 1,
    },
    "test": {"action": "test", "severity": "info", "labels": {}},
    "many": {
        "severity": "critical",
        "items": tuple(f"order {number} has no customer" for number in range(200)),
        "total": 893,
        "labels": {f"label-{number:03}": f"value {number}" for number in range(120)},
    },
    "hostile": {
        "severity": "warning",
        "subject": "<!channel> & <@U012AB3CD> \u202e\u0000",
        "body": "</pre><!here> <https://evil.example|click> &lt;",
        "labels": {"<!everyone>": "a & b"},
        "items": ("<!subteam^S1>",),
    },
}


def slack(view: View, minimal: bool = False) -> Message:
    return render_slack(view, minimal=minimal, metadata=True)


def slack_webhook(view: View, minimal: bool = False) -> Message:
    return render_slack(view, minimal=minimal, metadata=False)


def pagerduty(view: View, minimal: bool = False) -> Message:
    by = Signature(source="orders-db", client="tocsin", client_url="https://tocsin.example")
    return render_pagerduty(view, by, minimal=minimal)


def webhook(view: View, minimal: bool = False) -> Message:
    return render_webhook(view, minimal=minimal)


RENDERERS: dict[str, Callable[..., Message]] = {
    "slack": slack,
    "slack-webhook": slack_webhook,
    "pagerduty": pagerduty,
    "webhook": webhook,
}


@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("channel", RENDERERS)
def test_a_payload_is_what_its_golden_file_says(channel: str, view: str, minimal: bool, make_view: MakeView) -> None:
    body = RENDERERS[channel](make_view(**VIEWS[view]), minimal).body
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{channel}-{view}{'-minimal' if minimal else ''}.json"
    if os.environ.get("TOCSIN_TEST_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("channel", RENDERERS)
def test_event_data_mentions_nobody(channel: str, make_view: MakeView) -> None:
    body = RENDERERS[channel](make_view(**VIEWS["hostile"])).body
    if channel.startswith("slack"):
        assert mentions(json.dumps(body)) == []
        assert "&lt;!channel&gt; &amp; &lt;@U012AB3CD&gt;" in body["text"]


def test_the_rest_is_counted(make_view: MakeView) -> None:
    view = make_view(**VIEWS["many"])
    assert "and 873 more" in json.dumps(slack(view).body)
    assert "and 843 more" in json.dumps(pagerduty(view).body)
    assert webhook(view).body["data"]["items_total"] == 893


views = st.fixed_dictionaries(
    {
        "action": st.sampled_from(get_args(Action)),
        "severity": st.sampled_from(get_args(Severity)),
        "subject": texts,
        "body": texts,
        "dedup_key": texts,
        "labels": st.dictionaries(wild, texts, max_size=4)
        | st.integers(0, 600).map(lambda size: {f"<l{number}>": "&" * number for number in range(size)}),
        "items": st.lists(texts, max_size=4).map(tuple)
        | st.integers(0, 400).map(lambda size: tuple(f"&{number}" * 60 for number in range(size))),
        "total": st.integers(0, 10**9),
        "revision": st.integers(1, 10**6),
    }
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(fields=views, minimal=st.booleans())
def test_no_view_breaks_a_limit(fields: dict[str, Any], minimal: bool, make_view: MakeView) -> None:
    view = make_view(**fields)
    for update in (False, True):
        check_message(slack(view, minimal).body, update=update)
        check_message(slack_webhook(view, minimal).body, update=update)
    blocks = slack(view, minimal).body.get("blocks", [])
    assert len(json.dumps(blocks, ensure_ascii=False)) < 2 * 12_000
    event = {**pagerduty(view, minimal).body, "routing_key": "k" * 32}
    if event["dedup_key"]:
        assert pagerduty_standin.check_event(event) == []
    assert len(json.dumps(event)) <= pagerduty_standin.BODY_BYTES
    assert len(json.dumps(webhook(view, minimal).body)) <= 512 * 1024


def test_the_text_of_all_blocks_stays_under_twelve_thousand(make_view: MakeView) -> None:
    worst = make_view(
        action="update",
        revision=2,
        subject="s" * 9_999,
        body="b" * 99_999,
        items=tuple("i" * 999 for _ in range(99)),
        labels={f"{number}" + "n" * 999: "v" * 9_999 for number in range(99)},
    )
    total = 0
    for block in slack_message.blocks(worst):
        texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        total += sum(len(text["text"]) for text in texts if text)
    assert 8_000 < total <= 12_000
    assert len(slack_message.blocks(worst)) <= 50


@given(wild, st.integers(1, 80))
def test_escaping_keeps_inside_the_limit_and_leaves_no_markup(text: str, limit: int) -> None:
    escaped = escape(text, limit)
    assert len(escaped) <= limit
    assert "<" not in escaped
    assert ">" not in escaped
    plain = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == text or (plain.endswith("…") and text.startswith(plain[:-1]))


@given(wild, st.integers(20, 200))
def test_cutting_for_json_counts_escaped_bytes(text: str, limit: int) -> None:
    assert len(json.dumps(cut_json(text, limit))) - 2 <= limit
    assert cut_json(text, 10_000) == text


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=20), max_size=30), st.integers(40, 200))
def test_top_shows_what_fits_and_counts_the_rest(lines: list[str], limit: int) -> None:
    shown = top(lines, limit, most=10, total=1_000)
    assert len(shown) <= limit
    *kept, more = shown.split("\n")
    assert kept == lines[: len(kept)]
    assert more == f"and {1_000 - len(kept):,} more"


@given(wild)
def test_clean_text_can_be_encoded_and_has_no_controls(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert not set(cleaned) & {chr(code) for code in range(32)} - {"\n", "\t"}
    assert clean(cleaned) == cleaned


def test_a_cut_text_says_so() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert len(cut("🔥" * 200, 150)) == 150


def test_pagerduty_gets_the_whole_payload_on_a_resolve(make_view: MakeView) -> None:
    body = pagerduty(make_view(action="resolve", revision=2)).body
    assert body["event_action"] == "resolve"
    assert set(body["payload"]) == {"summary", "source", "severity", "timestamp", "custom_details"}
    assert len(body["payload"]["summary"]) <= pagerduty_message.SUMMARY
