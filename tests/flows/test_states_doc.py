"""docs/states.md: its table is the design's, its names are all there are, its example runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.flows.beside import Deployed
from tests.flows.conftest import Book
from tests.flows.oracle import CELLS, ONLY
from tocsin.flows import resume_flow_run, states
from tocsin.flows.errors import Parked
from tocsin.flows.states import StateType
from tocsin.server.run_reads import NAMES

GUIDE = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
SHORT = {"SCH": "SCHEDULED", "PEN": "PENDING", "RUN": "RUNNING", "PAU": "PAUSED", "CLG": "CANCELLING"}
SHORT |= {"COM": "COMPLETED", "FAI": "FAILED", "CRA": "CRASHED", "CAN": "CANCELLED"}


def rows(head: str) -> list[list[str]]:
    """The cells of the table that begins with this heading."""
    lines = GUIDE[GUIDE.index(head) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_the_guide_is_the_one_that_decide_is_held_to() -> None:
    head, _, *lines = rows("| from \\ to |")
    goals = [SHORT[cell] for cell in head[1:]]
    told: dict[tuple[str, str], str] = {}
    for origins, *cells in lines:
        for origin in re.findall(r"[A-Z]{4,}", origins) or ["new"]:
            told |= {(origin, goal): cell for goal, cell in zip(goals, cells, strict=True)}
    shown = {"": ".", "x": "x", "again": "x", "by force": "x", **{f"`{name}`": key for key, name in ONLY.items()}}
    assert {place: shown[cell] for place, cell in told.items()} == CELLS


def test_the_guide_names_every_state() -> None:
    _, _, *lines = rows("| type | names |")
    assert {line[0].strip("`") for line in lines} == set(StateType)
    named = {name for line in lines for name in re.findall(r"\w+", line[1])}
    assert named == set(NAMES)
    constants = {getattr(states, name) for name in ("SCHEDULED", "LATE", "AWAITING_RETRY", "AWAITING_SLOT", "PAUSED")}
    assert constants <= named


@pytest.mark.parametrize(("ok", "result"), [(True, "a draft, approved by Ada"), (False, "not published")])
def test_the_example_of_the_guide_runs(quick: Book, ok: bool, result: str) -> None:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, "docs/states.md", "exec"), names)
    run = Deployed(quick, names["publish"])
    with pytest.raises(Parked):
        run.work()
    resume_flow_run(run.id, {"ok": ok, "by": "Ada"})
    assert run.work() == result
    assert [row.name for row in quick.task_runs()] == ["draft-0"]
