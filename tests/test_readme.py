"""The README's example is run as a reader would run it: applied, watched by `tocsin dev`, and failing on purpose."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from tests.ports import free_port
from tocsin.notifiers.standins import SlackStandIn
from tocsin.notifiers.tables import Delivery
from tocsin.store.engine import Store

README = Path(__file__).parents[1] / "README.md"
PATIENCE_S = 60.0


def example() -> str:
    (code,) = re.findall(r"<!-- tests/test_readme.py runs this -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    return str(code)


def tocsin(*words: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tocsin.server", *words], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def dev(folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin.server", "dev"],
        cwd=folder,
        env=os.environ | {"TOCSIN_PORT": str(free_port())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


async def told(store: Store) -> None:
    """Return when the delivery has arrived."""
    with store.watch("deliveries", "log") as watch:
        async with asyncio.timeout(PATIENCE_S):
            while await store.look(lambda session: session.exec(select(Delivery.state)).first()) != "delivered":
                await watch.wait(timedelta(seconds=1))


async def test_the_readmes_example_tells_the_team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightly.py").write_text(example())
    with SlackStandIn() as slack:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.url)
        assert "nightly-failed" in tocsin("automation", "apply", "nightly.py", folder=tmp_path)
        store = Store.open()
        with dev(tmp_path):
            failed = subprocess.run([sys.executable, "nightly.py"], cwd=tmp_path, capture_output=True, text=True)
            assert "nothing to load" in failed.stderr
            await told(store)
        store.close()
        assert "nightly" in tocsin("run", "ls", folder=tmp_path)
        assert "tocsin.flow-run.Failed" in tocsin("event", "ls", "--name", "tocsin.flow-run.*", folder=tmp_path)
        assert slack.violations == []
        assert len(slack.messages) == 1
        assert "nightly failed: nothing to load" in str(slack.messages[0])


def test_the_readmes_example_is_thirty_lines_of_code() -> None:
    lines = [line for line in example().splitlines() if line.strip() and not line.startswith(("import", "from", "#"))]
    assert len(lines) <= 30
