"""`tocsin route` and `tocsin silence`: applied, tested, exported; added, previewed, ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.server.test_cli import Cli, cli

__all__ = ["cli"]

PYTHON = """
from tocsin.notifiers import Escalate, Inhibition, MuteWindow, PagerDuty, Route, SlackWebhook

slack = SlackWebhook(name="slack", url="https://hooks.slack.test/x")
pager = PagerDuty(name="pager", routing_key="k" * 32)
always = MuteWindow(name="always")
last = Escalate(after="15m", receivers=["slack"])
oncall = Route(
    name="oncall",
    receivers=["slack"],
    group_by=["alertname"],
    routes=[
        Route(match={"severity": "critical"}, receivers=["pager"], escalation=[last]),
        Route(match={"team": "reports"}, mute=["always"]),
    ],
)
node = Inhibition(name="node", source="alertname=NodeDown", target="severity=warning", equal=["node"])
"""


@pytest.fixture
def oncall(cli: Cli, tmp_path: Path) -> Path:
    file = tmp_path / "oncall.py"
    file.write_text(PYTHON)
    cli("automation", "apply", str(file))
    return file


def test_a_file_of_automations_brings_its_routes(cli: Cli, oncall: Path) -> None:
    rows = cli("automation", "apply", str(oncall), "-o", "json").json()
    assert [(row["kind"], row["name"]) for row in rows][2:] == [
        ("mute window", "always"),
        ("route", "oncall"),
        ("inhibition", "node"),
    ]
    planned = cli("automation", "plan", str(oncall), "-o", "json").json()
    assert [one["change"] for one in planned] == ["unchanged"] * 5
    assert [row["kind"] for row in cli("route", "ls", "-o", "json").json()] == ["mute window", "route", "inhibition"]


def test_routes_are_applied_shown_and_removed(cli: Cli, oncall: Path, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("routes:\n  - name: web\n    receiver: slack\n")
    for change in ("created", "unchanged"):
        rows = cli("route", "apply", str(file), "-o", "json").json()
        assert rows == [{"kind": "route", "name": "web", "change": change}]
    assert cli("route", "show", "web", "-o", "json").json() == {"name": "web", "receivers": ["slack"]}
    assert cli("route", "rm", "web", "-o", "json").json() == [{"kind": "route", "name": "web", "change": "removed"}]
    assert cli("route", "rm", "node", "--kind", "inhibition").code == 0
    refused = cli("route", "rm", "always", "--kind", "mute-window")
    assert (refused.code, "goes by it" in refused.err) == (1, True)
    assert 'unknown route "web"; known: oncall' in cli("route", "show", "web").err


def test_a_route_that_names_nobody_known_is_refused_and_nothing_is_stored(
    cli: Cli, oncall: Path, tmp_path: Path
) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(
        "routes:\n  - {name: a, receiver: slack}\n  - {name: b, receiver: slak, routes: [{receiver: pagr}]}\n"
    )
    refused = cli("route", "apply", str(file))
    assert (refused.code, 'route "b": unknown notifier "slak"; did you mean slack?' in refused.err) == (1, True)
    assert 'route "b/all": unknown notifier "pagr"; did you mean pager?' in refused.err, (
        "all of them, with their places"
    )
    assert cli("route", "show", "a").code == 1


def test_removing_a_route_says_who_is_left_without(cli: Cli, oncall: Path, tmp_path: Path) -> None:
    (file := tmp_path / "web.yaml").write_text("routes: [{name: web, receiver: slack}]\n")
    assert cli("route", "apply", str(file)).code == 0
    told = {"type": "send-notification", "route": "web"}
    rule = {"name": "late", "trigger": {"expect": ["orders.late"]}, "actions": [told]}
    (rules := tmp_path / "late.json").write_text(json.dumps({"automations": [rule]}))
    assert cli("automation", "apply", str(rules)).code == 0
    removed = cli("route", "rm", "web")
    assert (removed.code, "nobody is told of what late fires" in removed.err) == (0, True), removed.err


def test_a_test_says_where_an_alert_goes(cli: Cli, oncall: Path) -> None:
    [way] = cli("route", "test", 'severity="critical", alertname="etl"', "-o", "json").json()
    assert (way["path"], way["receivers"], way["group"]) == (
        "oncall/severity-critical",
        ["pager"],
        {"alertname": "etl"},
    )
    assert (way["escalation"], way["quiet"]) == (["after 900 s: slack"], "")
    said = cli("route", "test", 'severity="critical", alertname="etl"').out
    assert "alertname=etl" in said, "in words"
    assert " 4h " in said
    [way] = cli("route", "test", "team=reports", "--route", "oncall", "-o", "json").json()
    assert way["quiet"].startswith("muted by always until ")
    assert "a label is name=value" in cli("route", "test", "team!=reports").err


def test_the_export_is_alertmanagers_and_the_json_is_ours(cli: Cli, oncall: Path, tmp_path: Path) -> None:
    exported = yaml.safe_load(cli("route", "export").out)
    assert [child["receiver"] for child in exported["route"]["routes"] if "receiver" in child] == ["pager"]
    assert exported["inhibit_rules"][0]["source_matchers"] == ['alertname="NodeDown"']
    file = tmp_path / "again.json"
    file.write_text(cli("route", "export", "-o", "json").out)
    rows = cli("route", "apply", str(file), "-o", "json").json()
    assert [row["change"] for row in rows] == ["unchanged"] * 3


def test_a_silence_is_added_seen_and_ended(cli: Cli, oncall: Path) -> None:
    words = ("silence", "add", 'team="db"', "--for", "2h", "--comment", "deploy", "--author", "ana", "-o", "json")
    made = cli(*words).json()
    assert (made["state"], made["matchers"], made["author"], made["comment"]) == (
        "active",
        'team="db"',
        "ana",
        "deploy",
    )
    [way] = cli("route", "test", "team=db", "-o", "json").json()
    assert way["quiet"].startswith("silenced by ana until ")
    assert [row["id"] for row in cli("silence", "ls", "--state", "active", "-o", "json").json()] == [made["id"]]
    assert cli("silence", "expire", made["id"][:13], "-o", "json").json()["state"] == "expired"
    assert cli("route", "test", "team=db", "-o", "json").json()[0]["quiet"] == ""
    assert cli("silence", "ls", "--state", "active").out.startswith("no silences")


def test_a_preview_writes_nothing(cli: Cli) -> None:
    found = cli("silence", "add", "team=db", "--preview", "-o", "json").json()
    assert (found["firing"], found["past"], found["complete"]) == (0, 0, True)
    said = cli("silence", "add", "team=db", "--preview").out
    assert said.splitlines() == [
        'team="db"',
        "  quiet now: 0 alerts in 0 incidents",
        "  quiet in the last 24 hours: 0 alerts",
        "nothing is written; `--for 2h` instead of `--preview` adds it",
    ]
    assert cli("silence", "ls", "-o", "json").json() == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("team=db",), "Give --for 2h"),
        (("team=db", "--for", "2h", "--until", "2030-01-01T00:00:00Z"), "Give --for 2h"),
        (("team=db", "--for", "soon"), "--for soon: a span is needed"),
        (("team=db", "--until", "2030-01-01T00:00:00"), "has no time zone"),
        (("team=db", "--until", "2020-01-01T00:00:00Z"), "until 2020-01-01 00:00:00Z is none; end it later"),
        (("team=db", "--for", "2"), "--for 2: 2 has no unit; write 2s, 2m or 2h"),
        (("team~db", "--for", "2h"), "column 5"),
        (("--for", "2h"), "needs a matcher"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(cli: Cli, words: tuple[str, ...], why: str) -> None:
    refused = cli("silence", "add", *words)
    assert (refused.code, why in refused.err) == (1, True), refused.err
