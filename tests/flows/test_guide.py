"""What docs/flows.md shows runs."""

import re
from pathlib import Path

from tests.flows.conftest import Book

GUIDE = Path(__file__).parents[2] / "docs" / "flows.md"


def test_the_example_of_the_guide_runs(quick: Book) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    assert quick.flow_runs()[0].state_name == "Completed"
    assert sorted(quick.lines()) == ["fetching berlin", "fetching lagos"]
