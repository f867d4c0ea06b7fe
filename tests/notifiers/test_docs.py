"""The Python of docs/notifiers.md and docs/pagerduty.md, run from top to bottom as a reader would."""

import re
from pathlib import Path

import pytest

from tocsin.notifiers.registry import list_notifiers
from tocsin.store.engine import Store

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "blocks", "put"),
    [("notifiers.md", 4, ["bot", "oncall", "ops", "pager"]), ("pagerduty.md", 2, ["changes", "pager"])],
)
def test_the_examples_of_the_page_run(name: str, blocks: int, put: list[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == blocks
    page: dict[str, object] = {}
    for block in code:
        exec(compile(block, name, "exec"), page)  # the page's own code
    store = page["store"]
    assert isinstance(store, Store)
    with store.read() as session:
        assert [listed.name for listed in list_notifiers(session)] == put
    store.close()
