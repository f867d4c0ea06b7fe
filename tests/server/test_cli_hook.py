"""`tocsin hook`, and events from the shell: applied, shown, tried; emitted from files, pipes and CloudEvents."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_cli import Cli, Done, cli
from tocsin.events.codec import decode
from tocsin.events.errors import Invalid
from tocsin.events.model import Event
from tocsin.server.hook_files import hooks_in
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

__all__ = ["cli"]

SECRET = "0123456789abcdef0123456789abcdef"
FILE = """
hooks:
  - name: shop
    verify: {kind: github, secret: [{env: SHOP_SECRET}]}
    mapping: {event: "'orders.paid'", resource: body.order, where: body.order}
  - name: open
    insecure: true
    mapping: {event: "'orders.seen'", resource: query.order}
"""
PYTHON = """
from tocsin.triggers import Hook, Mapping, SharedSecret

mapping = Mapping(event="'a'", resource="'b'")
one = Hook(name="one", mapping=mapping, verify=SharedSecret(secret="0123456789abcdef"))
more = [Hook(name="two", mapping=mapping, insecure=True)]
"""


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    file = tmp_path / "hooks.yaml"
    file.write_text(FILE)
    return file


def test_hooks_are_applied_listed_shown_and_removed(cli: Cli, hooks: Path) -> None:
    first = cli("hook", "apply", str(hooks), "-o", "json")
    assert first.json() == [{"name": "shop", "change": "created"}, {"name": "open", "change": "created"}]
    assert "hook open is insecure" in first.err
    assert [row["change"] for row in cli("hook", "apply", str(hooks), "-o", "json").json()] == ["unchanged"] * 2
    listed = cli("hook", "ls", "-o", "json")
    assert [(row["name"], row["verified_by"]) for row in listed.json()] == [("open", "insecure"), ("shop", "github")]
    shown = cli("hook", "show", "shop", "-o", "json")
    assert shown.json()["config"]["verify"]["secret"] == ["**********"]
    printed = [cli("hook", "show", "shop").out, cli("hook", "ls").out, first.out, listed.out, shown.out]
    assert not any(SECRET in text for text in printed)
    assert cli("hook", "rm", "open").code == 0
    gone = cli("hook", "show", "open")
    assert (gone.code, gone.err) == (1, 'tocsin: unknown hook "open"; known: shop\n')


def test_what_show_prints_can_be_applied(cli: Cli, hooks: Path, tmp_path: Path) -> None:
    cli("hook", "apply", str(hooks))
    again = tmp_path / "again.json"
    again.write_text(json.dumps(cli("hook", "show", "shop", "-o", "json").json()["config"]))
    assert cli("hook", "apply", str(again), "-o", "json").json() == [{"name": "shop", "change": "unchanged"}]


def test_hooks_stand_in_python_too(tmp_path: Path) -> None:
    file = tmp_path / "hooks_in_python.py"
    file.write_text(PYTHON)
    assert sorted(hook.name for hook in hooks_in(str(file))) == ["one", "two"]


OPEN = "{name: a, insecure: true, mapping: {event: body.x, resource: body.y}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE, "SHOP_SECRET, which is not set"),
        ("hooks:\n- name: a\n  insecure: true\n  mappin: {}", "line 4, mappin: unknown field; did you mean mapping?"),
        (
            "- name: a\n  verify:\n    kind: githb\n    secret: abc",
            "line 2, verify: unknown kind 'githb'; known",
        ),
        (
            "- name: a\n  verify:\n    kind: github\n    secret: abc",
            "line 4, verify.secret: a secret has 16",
        ),
        (f"- {OPEN}\n- {OPEN}", 'hook "a" is defined twice, on line 1 and on line 2'),
        ("hooks: []", "no hook in it"),
        ("- name: a", "mapping"),
        ("- {name: a, insecure: true, mapping: {event: 'x.[', resource: y}}", "mapping.event"),
        ("- 7", "hook"),
        ("name: [", "line 1"),
    ],
)
def test_a_file_that_cannot_be_meant_says_where_and_why(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "hooks.yaml"
    file.write_text(text)
    with pytest.raises(Invalid) as refusal:
        hooks_in(str(file), {})
    assert said in str(refusal.value)
    assert "hooks.yaml" in str(refusal.value)


def test_a_post_is_tried_without_being_stored(cli: Cli, hooks: Path, tmp_path: Path) -> None:
    cli("hook", "apply", str(hooks))
    body = tmp_path / "body.json"
    body.write_text('{"order": "A-7"}')
    tried = cli("hook", "test", "shop", "--body", f"@{body}", "-o", "json")
    assert (tried.code, tried.err, tried.json()["event"]) == (0, "", "orders.paid")
    forged = cli("hook", "test", "shop", "--body", f"@{body}", "--header", "X-Hub-Signature-256: sha256=0")
    assert "would refuse this" in forged.err
    assert cli("hook", "test", "shop", "--body", '{"order": null}').code == 1
    asked = cli("hook", "test", "open", "--body", "{}", "--query", "order=A-8", "-o", "json")
    assert asked.json()["resource"] == {"tocsin.resource.id": "A-8"}
    bad = cli("hook", "test", "shop", "--body", "{")
    assert (bad.code, "not JSON" in bad.err) == (1, True)
    assert cli("event", "ls", "-o", "json").json() == []


def test_posts_that_became_no_event_are_listed(cli: Cli) -> None:
    from tocsin.events.bus import DeadLetter, Record
    from tocsin.store.log import publish

    assert cli("hook", "lost").out == "nothing is lost\n"
    store = Store.open()
    for number, (group, name) in enumerate(
        [("hooks", "shop"), ("source:x", "shop"), ("hooks", "ci"), ("hooks", "shop")]
    ):
        record = Record(f"hook/{name}", name, b'{"n": %d}' % number, "http", 0, number)
        with store.begin() as session:
            publish(session, [DeadLetter.of(record, group, "resource: null").message()])
    store.close()
    found = cli("hook", "lost", "shop", "-o", "json").json()
    assert [(row["hook"], row["reason"], row["body"]) for row in found] == [
        ("shop", "resource: null", '{"n": 3}'),
        ("shop", "resource: null", '{"n": 0}'),
    ]
    assert [row["hook"] for row in cli("hook", "lost", "-n", "2", "-o", "json").json()] == ["shop", "ci"]
    store = Store.open()
    with store.begin() as session:
        long = Record("hook/big", "big", b"x" * 5_000, "http", 0, 9)
        publish(session, [DeadLetter.of(long, "hooks", "too long").message()])
    store.close()
    assert len(cli("hook", "lost", "big").out) < 3_000
    assert "5,000" in cli("hook", "lost", "big").out
    assert len(cli("hook", "lost", "big", "-o", "json").json()[0]["body"]) == 5_000


# --- events from the shell ---

CLOUDEVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "orders.paid", "data": {"cents": 5}}


def given_on_stdin(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def kept() -> list[Event]:
    from sqlmodel import select

    store = Store.open()
    with store.read() as session:
        found = [decode(entry.body) for entry in session.exec(select(LogEntry).order_by("seq"))]
    store.close()
    return found


def test_an_event_is_emitted_with_everything_it_has(cli: Cli, tmp_path: Path) -> None:
    cause = cli("event", "emit", "orders.late", "orders", "-o", "json").json()["id"]
    file = tmp_path / "payload.json"
    file.write_text('{"rows": 3}')
    words = ["--label", "region=eu", "--related", "owner=ann", "--payload", f"@{file}", "--follows", cause]
    assert cli("event", "emit", "orders.repaired", "orders", *words).code == 0
    event = kept()[1]
    assert event.resource == {"tocsin.resource.id": "orders", "region": "eu"}
    assert event.related == [{"tocsin.resource.id": "ann", "tocsin.resource.role": "owner"}]
    assert (event.payload, str(event.follows)) == ({"rows": 3}, cause)


def test_a_payload_comes_on_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given_on_stdin('{"rows": 4}', monkeypatch)
    assert cli("event", "emit", "orders.repaired", "orders", "--payload", "-").code == 0
    assert kept()[0].payload == {"rows": 4}


def test_a_cloudevent_is_emitted_once(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(CLOUDEVENT))
    given_on_stdin(json.dumps(CLOUDEVENT), monkeypatch)
    done: list[Done] = [
        cli("event", "emit", "--cloudevent", given, "-o", "json") for given in ("-", f"@{file}", json.dumps(CLOUDEVENT))
    ]
    assert [one.code for one in done] == [0, 0, 0], done
    (event,) = kept()
    assert {one.json()["id"] for one in done} == {str(event.id)}
    assert (event.event, event.resource_id, event.payload) == ("orders.paid", "/shop", {"cents": 5})


MISTAKES: list[Any] = [
    (["orders.late"], 2, "give NAME and RESOURCE"),
    (["a", "b", "--cloudevent", "{}"], 2, "leave out the rest"),
    (["a", "b", "--payload", "[]"], 1, "give a JSON object"),
    (["a", "b", "--payload", "{"], 1, "not JSON"),
    (["a", "b", "--payload", "@nowhere.json"], 1, "nowhere.json"),
    (["--cloudevent", "{}"], 1, "is missing"),
    (["--cloudevent", json.dumps({**CLOUDEVENT, "type": "tocsin.x"})], 1, "kept for tocsin"),
    (["tocsin.x", "b"], 1, "kept for tocsin"),
]


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES)
def test_a_mistake_is_one_line(cli: Cli, words: list[str], code: int, said: str) -> None:
    done = cli("event", "emit", *words)
    assert (done.code, said in done.err) == (code, True), done.err
    assert done.err.count("\n") == 1
    assert ("see `tocsin event emit --help`" in done.err) is (code == 2)
