"""`automation explain`, `replay` and `show` on the command line, and the same over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.automations.parts import START, decided, define, happened, quiet
from tests.server.conftest import Api
from tocsin.automations.model import Automation
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.server.cli import main
from tocsin.store.engine import Store

Cli = Callable[..., str]

NORTH = happened("x", number=1, labels={"shop": "north"})
AGAIN = happened("x", number=2, labels={"shop": "north"}, at=1)
SOUTH = happened("x", number=3, labels={"shop": "south"}, at=2)


def late() -> Automation:
    return quiet("late", "x", match={"shop": "north"}, threshold=2, within="PT1H")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one `tocsin automation` in this process and gives what it printed."""

    def run(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ending:
            main(("automation", *words))
        printed = capsys.readouterr()
        assert ending.value.code == code, printed.err
        return printed.out + printed.err

    return run


@pytest.fixture
def evaluated(home: Path) -> Path:
    """A database in which three events were evaluated by one automation."""
    store = Store.open()
    define(store, late())
    asyncio.run(decided(store, ManualClock(START), NORTH, AGAIN, SOUTH))
    store.close()
    return home


@pytest.mark.usefixtures("evaluated")
def test_an_explanation_is_told_to_people(cli: Cli) -> None:
    assert cli("explain", "late", "--event", str(NORTH.id)).splitlines()[0].startswith(
        "late: did not fire: counted 1 of 2, until "
    )  # fmt: skip
    fired = cli("explain", "late", "--event", str(AGAIN.id))
    assert "late: fired, count 2\n" in fired
    assert "    do-nothing: due\n" in fired
    missed = cli("explain", "late", "--event", str(SOUTH.id))
    assert "    ok  expect: wanted x, saw x\n    no  match shop: wanted north, saw south\n" in missed


@pytest.mark.usefixtures("evaluated")
def test_an_explanation_is_one_object_for_programs(cli: Cli) -> None:
    found = json.loads(cli("explain", "late", "--event", str(NORTH.id), "-o", "json"))
    assert (found["automation"], found["event_id"], found["firings"]) == ("late", str(NORTH.id), [])
    assert found["evaluations"][0]["verdict"]["outcome"] == "counted"
    assert found["conditions"][0]["checks"][0] == {"about": "expect", "wanted": "x", "saw": "x", "held": True}
    assert "no event in the log" in cli("explain", "late", "--event", str(Event(event="x", resource={}).id), code=1)


@pytest.mark.usefixtures("evaluated")
def test_an_automation_is_shown_with_its_counts(cli: Cli) -> None:
    tally = json.loads(cli("show", "late", "-o", "json"))["tally"]
    assert (tally["concerned"], tally["fired"], tally["errors"]) == (2, 1, 0)
    assert tally["not_matched"] >= 1
    assert tally["last_fired"].startswith("2026-03-02T09:00:01")
    assert "last_fired      2026-03-02 09:00:01Z" in cli("show", "late")


@pytest.mark.usefixtures("evaluated")
def test_a_replay_says_what_is_on_record_and_what_is_new(cli: Cli) -> None:
    since = ("--since", "2020-01-01T00:00:00Z", "-o", "jsonl")
    [known] = map(json.loads, cli("replay", "late", *since).splitlines())
    assert (known["change"], known["event_id"]) == ("on record", str(AGAIN.id))
    store = Store.open()
    define(store, quiet("late", "x", match={"shop": "south"}))
    store.close()
    for words, changes in ((since, ["new"]), ((*since, "--act"), ["put down"]), (since, ["on record"])):
        assert [json.loads(line)["change"] for line in cli("replay", "late", *words).splitlines()] == changes
    assert "no time zone" in cli("replay", "late", "--since", "2026-01-01T00:00:00", code=1)


async def test_plan_tally_and_explain_are_there_over_http(api: Api, store: Store) -> None:
    define(store, late())
    await decided(store, ManualClock(START), NORTH)
    explained = (await api.get(f"/api/automations/late/explain?event={NORTH.id}")).json()
    assert explained["answer"].startswith("did not fire: counted 1 of 2")
    assert (await api.get("/api/automations/late/tally")).json()["concerned"] == 1
    assert (await api.get(f"/api/automations/nobody/explain?event={NORTH.id}")).status == 404
    changed = late().model_copy(update={"severity": "info"}).model_dump(mode="json")
    [planned] = (await api.post("/api/automations/plan", json=[changed])).json()
    assert (planned["change"], planned["differences"]) == (
        "updated", [{"field": "severity", "before": "error", "after": "info"}],
    )  # fmt: skip
    refused: Any = await api.post("/api/automations/plan", json=[{"name": "x"}])
    assert (refused.status, "[0]" in refused.json()["detail"]) == (422, True)
