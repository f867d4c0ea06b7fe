"""What docs/artifacts.md, docs/variables.md and docs/blocks.md show runs."""

import re
from pathlib import Path

import pytest

from tests.flows.conftest import Book

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = [
    (name, code)
    for name in ("artifacts", "variables", "blocks")
    for code in re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
]


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[f"{name} {at}" for at, (name, _) in enumerate(EXAMPLES)])
def test_an_example_of_the_guides_runs(quick: Book, name: str, code: str) -> None:
    exec(compile(code, str(DOCS / f"{name}.md"), "exec"), {"__name__": "guide"})
    if "kept as" in code:
        assert "with (redacted)" in quick.lines()
