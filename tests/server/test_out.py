"""What commands print: tables that fit a terminal, ids that can be typed, lists that say when they are cut."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tocsin.server.cli.out import show_rows

NIGHT = datetime(2026, 3, 2, 3, 0, 7, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"id": UUID("5a548637-2526-56c3-a5b6-b5645926bf27"), "at": NIGHT, "subject": "orders " * 30, "acked_by": ""},
    {"id": UUID("01a205ac-e98c-7de9-9c62-f66d2d0c900c"), "at": NIGHT, "subject": "clicks", "acked_by": ""},
]
COLUMNS = ("id", "at", "subject", "acked_by")


def test_a_table_keeps_times_and_short_ids_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_rows(ROWS, "table", COLUMNS, "none", short={"id"})
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert " 5a548637 " in printed, "its first letters tell it from others"
    assert " 01a205ac-e98c " in printed, "an id that is made of the time begins with the time"
    assert printed.count("2026-03-02 03:00:07Z") == len(ROWS)
    assert "acked" not in printed, "nothing stands in it"


def test_json_has_every_field_and_the_whole_id(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, "json", ("at",), "none", short={"id"})
    printed = capsys.readouterr().out
    assert all(str(row["id"]) in printed for row in ROWS)
    assert "acked_by" in printed


@pytest.mark.parametrize(("limit", "said"), [(2, "only the newest 2 are shown; `--limit 20`"), (3, ""), (None, "")])
def test_a_list_that_is_cut_says_so(capsys: pytest.CaptureFixture[str], limit: int | None, said: str) -> None:
    show_rows(ROWS, "table", COLUMNS, "none", limit=limit)
    shown = capsys.readouterr().err
    assert said in shown
    assert bool(said) == bool(shown)
