"""The processor and the dispatcher are killed with SIGKILL at every point, again and again: nothing is lost or doubled.

`TOCSIN_TEST_KILLS` is how often on each database, `TOCSIN_TEST_SEED` another night.
"""

import os
from collections import Counter, defaultdict
from pathlib import Path
from uuid import UUID

import pytest

from tests.notifiers.oncall_night import DATABASES, RECEIVERS, SITES, Night, night
from tocsin.automations.tables import StoredInvocation
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.tables import AlertRow, Delivery, Incident

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("TOCSIN_TEST_KILLS", "30"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "5"))


@pytest.mark.timeout(60 + 8 * KILLS)
@pytest.mark.parametrize("database", ["sqlite_url", pytest.param("postgres_store_url", marks=pytest.mark.postgres)])
def test_whoever_is_killed_everything_is_told_and_told_to_be_over(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with night(request.getfixturevalue(database), tmp_path, SEED) as held:
        held.rage(KILLS)
        held.dawn()
        print(f"{dict(held.kills)} killed at {dict(held.points)}; {held.fired} firings")
        check_told(held)
        check_over(held)
        check_pager(held)
        check_slack(held)
        check_webhook(held)
        check_limits(held)
        assert held.audit() == []


def check_told(held: Night) -> None:
    """Each firing is in an incident, and each incident was told to everybody, unless it was over before."""
    firings = [row for row in held.rows(StoredInvocation) if row.arguments["action"] == "trigger"]
    assert {row.state for row in firings} == {"done"}
    assert len(firings) == held.fired
    events = {UUID(str(row.cause["event"])) for row in firings}
    opened = {row.event_id for row in held.rows(AlertRow)}
    assert opened <= events
    live = {row.id for row in held.at_worst.values() if row.state in LIVE}
    told: dict[UUID, set[str]] = defaultdict(set)
    for row in held.rows(Delivery):
        told[row.incident_id] |= {row.receiver} if row.state == "delivered" else set()
    assert [told[incident] for incident in live] == [set(RECEIVERS)] * len(live)
    things = {row.identity for row in held.rows(AlertRow) if row.incident_id in live}
    assert len(things) == len(DATABASES) + len(SITES)


def check_over(held: Night) -> None:
    """Whoever was told was told the end, whoever was not was told nothing at all."""
    assert {row.state for row in held.rows(Incident)} <= {"resolved", "dropped"}
    assert {(row.firing) for row in held.rows(Incident)} == {0}
    assert {row.status for row in held.rows(AlertRow)} == {"resolved"}
    assert {row.state for row in held.rows(Delivery)} <= {"delivered", "superseded"}
    last: dict[tuple[UUID, str], str] = {}
    for row in sorted(held.rows(Delivery), key=lambda row: row.revision):
        if row.state == "delivered":
            last[row.incident_id, row.receiver] = row.action
    assert set(last.values()) == {"resolve"}


def check_pager(held: Night) -> None:
    """One alert an incident, over, and no call for one that nobody has."""
    ours = {row.dedup_key for row in held.rows(Incident)}
    keys = Counter(alert.dedup_key for alert in held.pager.alerts)
    assert set(keys.values()) == {1}
    assert keys.keys() <= ours
    assert {alert.state for alert in held.pager.alerts} == {"resolved"}
    told = {row.incident_id for row in held.rows(Delivery) if row.receiver == "pager" and row.state == "delivered"}
    assert len(told) == len(keys)


def check_slack(held: Night) -> None:
    """One message an incident and one line a delivery, by `find`; by the webhook one more a kill at the most."""
    messages = Counter(_payload(message.metadata)["incident"] for message in held.slack.messages)
    assert set(messages.values()) == {1}
    assert all(message.text.startswith("✅") for message in held.slack.messages)
    lines = Counter(_payload(reply.metadata)["delivery"] for reply in held.slack.replies if reply.metadata)
    assert set(lines.values()) <= {1}
    taken = sum(row.receiver == "hook" and row.state == "delivered" for row in held.rows(Delivery))
    assert taken <= len(held.hook.messages) <= taken + held.kills["dispatcher"]


def check_webhook(held: Night) -> None:
    """Each incident's story in its order, each delivery taken once; a first word that may have come is not repeated."""
    stories = defaultdict(list)
    for message in held.webhook.messages:
        stories[message["data"]["incident"]].append((message["data"]["revision"], message["type"]))
    for story in stories.values():
        assert story == sorted(story)
        assert [kind for _, kind in story].index("incident.resolved") == len(story) - 1
        assert {kind for _, kind in story[1:-1]} <= {"incident.updated"}


def check_limits(held: Night) -> None:
    """Nothing that was sent broke a contract."""
    for stand_in in (held.slack, held.hook, held.pager, held.webhook):
        assert stand_in.violations == []


def _payload(metadata: object) -> dict[str, str]:
    assert isinstance(metadata, dict)
    found: dict[str, str] = metadata["event_payload"]
    return found
