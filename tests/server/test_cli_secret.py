"""`tocsin secret`: put without a trace on the command line, listed without values, sealed anew under another key."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from tests.server.test_cli import Cli, cli
from tocsin.notifiers import Secret, Slack, put_notifier
from tocsin.notifiers.registry import get_notifier
from tocsin.notifiers.vault import get_secret
from tocsin.store.engine import Store

__all__ = ["cli"]

TOKEN = "xoxb-planted-0123456789"


class Piped(io.TextIOWrapper):
    """A stdin with something in it."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()))


def value(name: str) -> str:
    store = Store.open()
    try:
        with store.read() as session:
            return get_secret(session, name).get_secret_value()
    finally:
        store.close()


def test_a_secret_comes_from_stdin_a_file_or_the_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(f"{TOKEN}\n"))
    assert cli("secret", "put", "piped").code == 0
    (tmp_path / "token").write_text(f"{TOKEN}-file\n")
    assert cli("secret", "put", "filed", "--file", str(tmp_path / "token")).code == 0
    monkeypatch.setenv("PLANTED", f"{TOKEN}-env")
    assert cli("secret", "put", "set", "--env", "PLANTED").code == 0
    assert [value(name) for name in ("piped", "filed", "set")] == [TOKEN, f"{TOKEN}-file", f"{TOKEN}-env"]
    shown = cli("secret", "ls")
    assert "piped" in shown.out
    assert TOKEN not in shown.out
    assert [row["name"] for row in cli("secret", "ls", "-o", "json").json()] == ["filed", "piped", "set"]
    assert cli("secret", "rm", "piped").code == 0
    gone = cli("secret", "rm", "piped")
    assert (gone.code, gone.err) == (1, 'tocsin: unknown secret "piped"; known: filed, set\n')


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["x", "--env", "NOT_SET_ANYWHERE"], "which is not set", id="an empty variable"),
        pytest.param(["x", "--file", "/nowhere/at/all"], "No such file", id="no file"),
        pytest.param(["x", "--file", "a", "--env", "b"], "either --file or --env", id="two places"),
        pytest.param(["a/b", "--env", "PLANTED"], "name cannot be taken", id="a bad name"),
    ],
)
def test_what_cannot_be_put_is_told_without_the_value(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.setenv("PLANTED", TOKEN)
    done = cli("secret", "put", *words)
    assert done.code == 1
    assert says in done.err
    assert TOKEN not in done.err


def test_everything_is_sealed_anew_under_another_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Fernet.generate_key().decode(), cli("secret", "new-key").out.strip()
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    monkeypatch.setenv("PLANTED", TOKEN)
    cli("secret", "put", "token", "--env", "PLANTED")
    store = Store.open()
    with store.begin() as session:
        put_notifier(session, Slack(name="slack", token=Secret.ref("token"), channel="C1"))
    monkeypatch.setenv("TOCSIN_SECRET_KEY", f"{new},{old}")
    done = cli("secret", "rotate", "-o", "json")
    assert [(row["column"], row["resealed"]) for row in done.json()] == [("notifier.secrets", 1), ("secret.sealed", 1)]
    assert all(row["resealed"] == 0 for row in cli("secret", "rotate", "-o", "json").json())
    monkeypatch.setenv("TOCSIN_SECRET_KEY", new)
    with store.read() as session:
        assert get_notifier(session, "slack") == Slack(name="slack", token=SecretStr(TOKEN), channel="C1")
    store.close()
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    lost = cli("secret", "rotate")
    assert lost.code == 1
    assert cli("secret", "rotate", "--new-key").err.startswith("tocsin: the keys come from TOCSIN_SECRET_KEY")


def test_the_key_file_takes_a_new_key(cli: Cli, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("PLANTED", TOKEN)
    cli("secret", "put", "token", "--env", "PLANTED")
    before = (home / "secret.key").read_text().split()
    done = cli("secret", "rotate", "--new-key", "-o", "json")
    assert done.json() == [{"column": "secret.sealed", "resealed": 1, "unreadable": 0}]
    keys = (home / "secret.key").read_text().split()
    assert keys[1:] == before
    (home / "secret.key").write_text(keys[0])
    assert value("token") == TOKEN
    assert not any(key in done.out + done.err for key in keys)
