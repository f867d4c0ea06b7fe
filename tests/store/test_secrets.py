"""Secrets at rest: readable with a key that was given, with nothing else."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tocsin.events.errors import Invalid
from tocsin.store.secrets import seal, unseal


def test_a_secret_is_sealed_with_a_key_file_that_is_its_owners_alone(home: Path) -> None:
    token = seal("hunter2")
    assert "hunter2" not in token
    assert unseal(token) == "hunter2"
    assert stat.S_IMODE((home / "secret.key").stat().st_mode) == 0o600


def test_a_new_key_seals_and_the_old_one_still_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    before = seal("hunter2")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", f"{new}, {old}")
    after = seal("hunter2")
    assert unseal(before) == "hunter2"
    monkeypatch.setenv("TOCSIN_SECRET_KEY", new)
    assert unseal(after) == "hunter2"
    with pytest.raises(Invalid, match="TOCSIN_SECRET_KEY"):
        unseal(before)


def test_a_key_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "too short")
    with pytest.raises(Invalid, match="32 random bytes"):
        seal("x")
