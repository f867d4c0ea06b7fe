"""Lines are found by their indexes, whatever stands in the table."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlmodel import Session

from tocsin.notifiers import lines
from tocsin.store.engine import Store

LOOKS: list[Any] = [
    pytest.param(lambda session: lines.read_lines(session, [(uuid4(), uuid4()) for _ in range(9)]), id="by place"),
    pytest.param(lambda session: lines.held(session, [uuid4() for _ in range(9)]), id="what fires"),
    pytest.param(lambda session: lines.newest(session, uuid4(), 5), id="the newest"),
]


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_at_alerts_goes_through_all_of_them(sqlite_url: str, look: Callable[[Session], object]) -> None:
    store, asked = Store.open(sqlite_url), []
    event.listen(store.engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    with store.read() as session:
        look(session)
        (statement, parameters) = asked[-1]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    store.close()
    assert any("SEARCH alert USING" in step[3] for step in plan)
    assert not any("SCAN alert" in step[3] for step in plan)
