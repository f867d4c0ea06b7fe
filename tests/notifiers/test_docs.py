"""The Python of docs/notifiers.md, run from top to bottom as a reader would."""

import re
from pathlib import Path

from tocsin.notifiers.registry import list_notifiers
from tocsin.store.engine import Store

PAGE = Path(__file__).parents[2] / "docs" / "notifiers.md"


def test_the_examples_of_the_page_run() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 2
    page: dict[str, object] = {}
    for block in code:
        exec(compile(block, str(PAGE), "exec"), page)  # the page's own code
    store = page["store"]
    assert isinstance(store, Store)
    with store.read() as session:
        assert [listed.name for listed in list_notifiers(session)] == ["bot", "oncall", "ops", "pager"]
    store.close()
