"""What docs/caching.md and docs/results.md show runs, and says what is so."""

import re
import sqlite3
from pathlib import Path

import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows.keys import input_hash
from tocsin.flows.serializers import KNOWN

DOCS = Path(__file__).parents[2] / "docs"
CACHING, RESULTS = (DOCS / "caching.md").read_text(), (DOCS / "results.md").read_text()


def run(guide: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    exec(compile(code, "guide", "exec"), {"__name__": "__main__"})


def test_the_example_of_caching_runs(quick: Book) -> None:
    run(CACHING)
    assert [run.state_name for run in quick.task_runs()].count("Cached") == 6


def test_the_example_of_results_runs(quick: Book, home: Path) -> None:
    run(RESULTS)
    assert (home / "results/takings/2024-01-15.json").read_text() == '{"berlin": 12.5, "lagos": 7.25}'


def test_the_refusal_is_as_it_is_shown() -> None:
    class Connection(sqlite3.Connection):
        """Somebody's connection."""

    connection = sqlite3.connect(":memory:", factory=Connection)
    with pytest.raises(Invalid) as refused:
        input_hash({"connection": connection})
    connection.close()
    shown = str(refused.value).replace("'Connection' object", "'sqlite3.Connection' object")
    assert shown in " ".join(CACHING.split())


def test_each_serializer_is_described() -> None:
    assert [name for name in KNOWN if f'"{name}"' not in RESULTS] == []
