"""What docs/flows.md and docs/tasks.md show runs."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flows.conftest import Book
from tocsin.flows import entrypoint
from tocsin.flows.runs import create_run

GUIDE = Path(__file__).parents[2] / "docs" / "flows.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
FIRST, RETURNS, RUNTIME, DEPLOYMENT = EXAMPLES
OF_TASKS = re.findall(r"```python\n(.*?)```", GUIDE.with_name("tasks.md").read_text(), re.DOTALL)


def test_the_example_of_the_guide_runs(quick: Book) -> None:
    exec(compile(FIRST, str(GUIDE), "exec"), {"__name__": "__main__"})
    assert quick.flow_runs()[0].state_name == "Completed"
    assert sorted(quick.lines()) == ["fetching berlin", "fetching lagos"]


@pytest.mark.parametrize("code", [RETURNS, RUNTIME, *OF_TASKS], ids=["returns", "runtime", "calling", "options"])
def test_the_other_examples_hold_what_they_say(quick: Book, code: str) -> None:
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})


def test_the_deployment_of_the_guide_fills_in_the_day(
    quick: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "guide_takings.py").write_text("\n".join([FIRST, DEPLOYMENT]))
    entrypoint.load("guide_takings.py:takings", str(tmp_path))
    sys.modules.pop("guide_takings").every_morning.apply(quick.store)
    with quick.store.begin() as session:
        run = create_run(session, "takings", now=datetime(2026, 3, 2, 5, tzinfo=UTC))
        assert run.parameters == {"day": "2026-03-02"}
