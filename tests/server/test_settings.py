"""Settings from the environment and from secrets' files; what cannot be read is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tocsin.events.errors import Invalid
from tocsin.server.settings import Settings, load, share


def test_every_field_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "4300")
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://u:hunter22@db/t")
    found = load()
    assert (found.port, found.url) == (4300, "postgresql://u:hunter22@db/t")
    assert "hunter22" not in repr(found)


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "4300")
    assert (load(port=1).port, load(port=None).port) == (1, 4300)


def test_a_folder_of_secrets_gives_what_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tocsin_api_key").write_text("0123456789abcdef\n")
    (tmp_path / "tocsin_port").write_text("4300")
    monkeypatch.setenv("TOCSIN_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("TOCSIN_PORT", "4301")
    found = load()
    assert (found.key, found.port) == ("0123456789abcdef", 4301)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TOCSIN_PORT", "http", "integer"),
        ("TOCSIN_PORT", "70000", "65535"),
        ("TOCSIN_API_KEY", "short", "16"),
        ("TOCSIN_LOG_LEVEL", "LOUD", "DEBUG"),
        ("TOCSIN_WORKER_LIMIT", "0", "1"),
        ("TOCSIN_SECRETS_DIR", "/nowhere/at/all", "no folder"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=f"{name}.*{said}"):
        load()


def test_a_refused_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_API_KEY", "hunter22")
    with pytest.raises(Invalid) as refusal:
        load()
    assert "hunter22" not in str(refusal.value)


def test_children_and_rooms_find_what_came_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOCSIN_HOME", "TOCSIN_DATABASE_URL", "TOCSIN_SECRET_KEY", "TOCSIN_API_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")
    share(Settings(home=tmp_path, database_url="sqlite:///x.db"))  # type: ignore[arg-type]
    assert os.environ["TOCSIN_HOME"] == str(tmp_path)
    assert os.environ["TOCSIN_DATABASE_URL"] == "sqlite:///x.db"


def test_each_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_docs_list_each_setting() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert [name for name in Settings.model_fields if f"`TOCSIN_{name.upper()}`" not in documented] == []
