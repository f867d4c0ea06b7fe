"""Artifacts: kept with their run, by key with history, masked, told by an event, forgotten with the run."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import artifacts, flow, results, task
from tocsin.flows.artifact_requests import CreateArtifact, UpdateProgress, list_artifacts, remove_artifacts
from tocsin.flows.artifact_tables import ArtifactRow
from tocsin.flows.artifacts import (
    acreate_markdown_artifact,
    artifact_history,
    create_image_artifact,
    create_link_artifact,
    create_markdown,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    get_artifact,
    update_progress_artifact,
)
from tocsin.flows.forget import delete_run

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_an_artifact_belongs_to_the_run_that_makes_it(book: Book) -> None:
    @task
    def count() -> UUID:
        return create_table_artifact([{"shop": "berlin", "orders": 3}], key="orders")

    @flow
    def report() -> None:
        count()
        create_markdown("# done", key="report")

    report()
    create_link_artifact("https://example.com/r")
    (run,), (done,) = book.flow_runs(), book.task_runs()
    table, text = get_artifact("orders"), get_artifact("report")
    assert (table.flow_run_id, table.task_run_id, table.type) == (run.id, done.id, "table")
    assert table.body == {"columns": ["shop", "orders"], "rows": [["berlin", 3]]}
    assert (text.flow_run_id, text.task_run_id, text.body) == (run.id, None, "# done")
    alone = next(row for row in book.rows(ArtifactRow) if row.type == "link")
    assert (alone.flow_run_id, alone.task_run_id, alone.key) == (None, None, None)


def test_each_new_artifact_is_one_event_that_names_its_run(book: Book) -> None:
    @flow
    def report() -> UUID:
        return create_markdown_artifact("text", key="report", description="of today")

    made = report()
    create_markdown_artifact("outside")
    told, outside = (event for event in book.events() if event.event == "tocsin.artifact.created")
    (run,) = book.flow_runs()
    assert told.resource["tocsin.resource.id"] == "tocsin.artifact.report"
    roles = {one["tocsin.resource.role"]: one["tocsin.resource.id"] for one in told.related}
    assert roles == {"flow-run": f"tocsin.flow-run.{run.id}", "flow": "tocsin.flow.report"}
    expected = {"id": str(made), "key": "report", "type": "markdown", "description": "of today", "size": 6}
    assert told.payload == expected
    assert outside.related == []


def test_every_version_under_a_key_is_kept_the_newest_first(book: Book) -> None:
    ids = [create_markdown_artifact(f"version {number}", key="report") for number in range(5)]
    other = create_markdown_artifact("other", key="other")
    nameless = [create_markdown_artifact("nameless") for _ in range(2)]
    assert [one.body for one in artifact_history("report")] == [f"version {number}" for number in (4, 3, 2, 1, 0)]
    assert (get_artifact("report").id, get_artifact(ids[1]).body) == (ids[4], "version 1")
    with book.store.read() as session:
        assert [row.id for row in list_artifacts(session)] == [nameless[1], nameless[0], other, ids[4]]
        assert len(list_artifacts(session, every=True)) == 8
        assert [row.key for row in list_artifacts(session, every=True, type="table")] == []
    with book.store.begin() as session:
        assert remove_artifacts(session, str(ids[1])) == 1
        assert remove_artifacts(session, "report") == 4
    with pytest.raises(NotFound, match="'report'"):
        get_artifact("report")


def test_a_progress_moves_on_and_an_older_step_that_comes_late_is_left_out(book: Book) -> None:
    made = create_progress_artifact(0, key="load", description="loading")
    update_progress_artifact(made, 40.5)
    book.ledger.ask(UpdateProgress(id=made, progress=10, description="late", now=NOW - timedelta(days=900)))
    (now,) = artifact_history("load")
    assert (now.body, now.description, now.type) == (40.5, "loading", "progress")
    assert sum(event.event == "tocsin.artifact.created" for event in book.events()) == 1
    text = create_markdown_artifact("x", key="text")
    with pytest.raises(Invalid, match="text is a markdown"):
        update_progress_artifact(text, 50)
    with pytest.raises(NotFound):
        update_progress_artifact(uuid7(), 50)


def test_a_request_that_is_repeated_changes_nothing(book: Book) -> None:
    plain: dict[str, Any] = {"flow_run_id": None, "task_run_id": None, "labels": {}, "related": [], "reference": None}
    asked = CreateArtifact(id=uuid7(), key="x", kind="markdown", description="", body='"x"', size=3, now=NOW, **plain)
    for _ in range(2):
        book.ledger.ask(asked)
    assert (len(book.rows(ArtifactRow)), len(book.events())) == (1, 1)


def test_a_large_body_is_kept_with_the_results(quick: Book) -> None:
    text = "ä" * results.INLINE
    create_markdown_artifact(text, key="large")
    (row,) = quick.rows(ArtifactRow)
    assert (row.body, row.reference is not None) == (None, True)
    assert get_artifact("large").body == text


def test_what_is_too_large_is_refused_with_the_way_out(quick: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "LARGEST", 1_000)
    with pytest.raises(Invalid, match=r"artifact report: 1,001 characters, at most 1,000 .* create_link_artifact"):
        create_markdown_artifact("x" * 999, key="report")
    create_markdown_artifact("x" * 998)
    assert len(quick.rows(ArtifactRow)) == 1


def test_texts_are_masked_like_log_lines(quick: Book) -> None:
    url = "postgresql://me:planted-password@db/x"
    create_markdown_artifact(f"from {url}", key="text", description=url)
    create_table_artifact([{"source": url, url: 1}], key="table")
    create_link_artifact("https://me:planted-password@example.com/x", key="link")
    shown = repr([get_artifact(key) for key in ("text", "table", "link")]) + repr(quick.events())
    assert "planted-password" not in shown
    assert shown.count("********") >= 5


BAD: list[tuple[str, Any, str]] = [
    ("a key in upper case", lambda: create_markdown("x", key="Report"), "artifact key 'Report'"),
    ("a key with a blank", lambda: create_markdown("x", key="a b"), "lower case letters"),
    ("an empty key", lambda: create_markdown("x", key=""), "lower case letters"),
    ("a key too long", lambda: create_markdown("x", key="k" * 256), "at most 255"),
    ("no text", lambda: create_markdown(3), "this is a int"),  # type: ignore[arg-type]
    ("a link without a scheme", lambda: create_link_artifact("example.com"), "whole address"),
    ("a link that runs code", lambda: create_link_artifact("JavaScript:alert(1)"), "whole address"),
    ("a link with a line break", lambda: create_link_artifact("https://a\nb"), "whole address"),
    ("an image from a disk", lambda: create_image_artifact("file:///x.png"), "http or https"),
    ("a progress beyond the end", lambda: create_progress_artifact(101), "0 to 100"),
    ("a progress that is no number", lambda: create_progress_artifact(float("nan")), "0 to 100"),
    ("a progress by its key", lambda: update_progress_artifact("report", 5), "the id that"),  # type: ignore[arg-type]
    ("a table that is none", lambda: create_table_artifact(3), "DataFrame"),
]


@pytest.mark.parametrize(("make", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_kept_is_refused(quick: Book, make: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        make()
    assert quick.rows(ArtifactRow) == []


def test_coroutines_have_their_own(book: Book) -> None:
    @task
    async def note(number: int) -> UUID:
        return await acreate_markdown_artifact(f"note {number}", key=f"note-{number}")

    @flow
    async def notes() -> list[UUID]:
        return list(await asyncio.gather(note(1), note(2)))

    made = asyncio.run(notes())
    assert [get_artifact(f"note-{number}").id for number in (1, 2)] == made
    assert {get_artifact(one).task_run_id for one in made} == {run.id for run in book.task_runs()}


def test_whatever_text_there_is_comes_back(book: Book) -> None:
    create_markdown_artifact("ä\N{PILE OF POO} \x01 end", key="text")
    create_image_artifact("https://example.com/a.png", key="image")
    create_markdown_artifact("nul \0 and half \ud800", key="odd")
    assert get_artifact("text").body == "ä\N{PILE OF POO} \x01 end"
    assert get_artifact("image").body == {"url": "https://example.com/a.png"}
    assert get_artifact("odd").body == "nul \N{REPLACEMENT CHARACTER} and half ?"


def test_forgetting_a_run_forgets_its_artifacts(book: Book) -> None:
    @task
    def inner() -> None:
        create_markdown_artifact("of a task", key="one")

    @flow
    def child() -> None:
        create_markdown_artifact("of a subflow", key="two")

    @flow
    def parent() -> None:
        inner()
        child()

    parent()
    create_markdown_artifact("of nobody", key="three")
    run = next(run for run in book.flow_runs() if run.flow_name == "parent")
    with book.store.begin() as session:
        assert delete_run(session, run.id, now=NOW) is None
    assert [row.key for row in book.rows(ArtifactRow)] == ["three"]
