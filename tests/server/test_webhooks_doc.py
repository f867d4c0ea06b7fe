"""docs/webhooks.md, run from top to bottom as a reader would, against a real server."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

from tests.server.conftest import serving
from tocsin.events.codec import decode
from tocsin.server.hook_files import hooks_in
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers.hook import Hook
from tocsin.triggers.hooks import put_hook

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(yaml hooks\.yaml|sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BECOMES = re.compile(r"becomes `([^`]+)` about `([^`]+)`")
SECRETS = {
    "SHOP_SECRET": "5f0c1d2e3b4a59687f6e5d4c3b2a1908",
    "BILLING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5",
    "PAGERDUTY_SECRET": "pJ6iN0t3k2q1o9m8l7k6j5h4g3f2d1s0",
    "GITHUB_SECRET": "It's a Secret to Everybody",
}


async def run(words: list[str], folder: Path) -> str:
    made = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=PIPE, stderr=STDOUT)
    said, _ = await made.communicate()
    assert made.returncode == 0, f"{words[-1]}\n{said.decode()}"
    return said.decode()


def define(file: Path, text: str, store: Store) -> None:
    file.write_text(text)
    with store.begin() as session:
        for hook in hooks_in(str(file)):
            put_hook(session, hook, datetime.now(UTC))


async def test_the_page_does_what_it_says(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, "TOCSIN_DATABASE_URL": sqlite_url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    store = Store.open(sqlite_url)
    said = ""
    async with serving(store, Settings(port=0)) as api:
        for kind, text in BLOCK.findall(PAGE):
            text = text.replace("localhost:4200", api.url.removeprefix("http://"))
            match kind:
                case "sh":
                    whole = text.replace("curl ", "curl --fail-with-body ")
                    said += await run(["bash", "-euo", "pipefail", "-c", whole], tmp_path)
                case "python":
                    said += await run([sys.executable, "-c", text], tmp_path)
                case _:
                    define(tmp_path / "hooks.yaml", text, store)
    with store.read() as session:
        kept = [decode(entry.body) for entry in session.exec(select(LogEntry).order_by("seq"))]
    store.close()
    assert [(event.event, event.resource_id) for event in kept] == BECOMES.findall(PAGE)
    assert len(kept) == 8
    assert "unchanged" in said
    for secret in SECRETS.values():
        assert secret not in said


@pytest.mark.parametrize("field", ["name", "mapping", "verify", "insecure", "per_minute", "max_bytes", "same_body_s"])
def test_the_page_names_every_field(field: str) -> None:
    assert field in Hook.model_fields
    assert len(Hook.model_fields) == 7
    assert re.search(rf"^\| `{field}[`:]", PAGE, re.MULTILINE)
