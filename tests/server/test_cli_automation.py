"""Automations as code on the command line: plan, apply, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tocsin.server.cli import main

RULES = """
automations:
  - name: late
    trigger: {expect: [orders.late], for_each: [warehouse], threshold: 5, within: 600}
    actions: [{type: send-notification, notifier: slack}]
  - name: hook
    trigger: {expect: [orders.lost]}
    actions: [{type: call-webhook, url: "https://example.com/", secret: whsec_hush}]
"""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one `tocsin automation` in this process, in a folder with rules."""
    (tmp_path / "rules.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as ending:
            main(("automation", *words))
        printed = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Done(ending.value.code, printed.out, printed.err)

    return run


def test_a_plan_tells_what_an_apply_then_does(cli: Cli) -> None:
    planned = cli("plan", "rules.yaml", "-o", "json").json()
    assert [(one["name"], one["change"], one["differences"]) for one in planned] == [
        ("late", "created", []),
        ("hook", "created", []),
    ]
    assert planned[0]["warnings"] == ['line 5, actions.0.notifier: unknown notifier "slack"; known: none']
    assert cli("ls", "-o", "json").json() == []
    assert [one["change"] for one in cli("apply", "rules.yaml", "-o", "json").json()] == ["created"] * 2
    assert [one["change"] for one in cli("plan", "rules.yaml", "-o", "json").json()] == ["unchanged"] * 2


def test_a_plan_shows_each_field_and_no_secret(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    Path("rules.yaml").write_text(RULES.replace("threshold: 5", "threshold: 6").replace("whsec_hush", "whsec_new"))
    told = cli("plan", "rules.yaml").out
    assert "~ automation late: updated\n    trigger.threshold: 5 -> 6\n" in told
    assert "    actions.0.secret: changed\n" in told
    assert "whsec" not in told


def test_a_check_ends_with_2_when_something_would_change(cli: Cli) -> None:
    assert (cli("plan", "rules.yaml").code, cli("plan", "rules.yaml", "--check").code) == (0, 2)
    cli("apply", "rules.yaml")
    assert cli("plan", "rules.yaml", "--check").code == 0


def test_an_unknown_name_is_a_warning_unless_apply_is_strict(cli: Cli) -> None:
    refused = cli("apply", "rules.yaml", "--strict")
    assert (refused.code, refused.out) == (1, "")
    assert 'automation "late": line 5, actions.0.notifier: unknown notifier "slack"' in refused.err
    assert cli("ls", "-o", "json").json() == []
    applied = cli("apply", "rules.yaml")
    assert (applied.code, applied.err.startswith("tocsin: warning: ")) == (0, True)


@pytest.mark.parametrize(("form", "suffix"), [("yaml", "yaml"), ("json", "json"), ("python", "py")])
def test_an_export_is_applied_without_a_change(cli: Cli, form: str, suffix: str) -> None:
    cli("apply", "rules.yaml")
    exported = cli("export", "-o", form).out
    assert "whsec_hush" not in exported
    Path(f"out.{suffix}").write_text(exported)
    assert [one["change"] for one in cli("apply", f"out.{suffix}", "-o", "json").json()] == ["unchanged"] * 2
    assert "orders.late" not in cli("export", "hook").out


def test_several_files_are_planned_together(cli: Cli) -> None:
    Path("more.yaml").write_text("name: more\ntrigger: {expect: [x]}\n")
    assert len(cli("plan", "rules.yaml", "more.yaml", "-o", "json").json()) == 3
    Path("again.yaml").write_text(RULES)
    twice = cli("plan", "rules.yaml", "again.yaml")
    assert (twice.code, '"late" is defined twice, in rules.yaml and in again.yaml' in twice.err) == (1, True)


def test_an_automation_is_switched_off_and_on(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    for command, enabled in (("disable", False), ("enable", True)):
        for change in ("updated", "unchanged"):
            assert cli(command, "late", "-o", "json").json() == [{"name": "late", "enabled": enabled, "change": change}]
        assert [row["enabled"] for row in cli("ls", "-o", "json").json()] == [True, enabled]
    assert 'unknown automation "lat"' in cli("enable", "lat").err


def test_an_automation_is_removed_by_name(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    assert cli("remove", "late", "-o", "json").json() == [{"name": "late", "change": "removed"}]
    assert [row["name"] for row in cli("ls", "-o", "json").json()] == ["hook"]
    assert 'unknown automation "late"; known: hook' in cli("remove", "late").err


def test_an_export_of_what_is_not_there_names_what_is(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    assert 'unknown automation "lat"; known: hook, late' in cli("export", "lat").err


def event(name: str, minute: int, warehouse: str = "north", **more: Any) -> dict[str, Any]:
    """One order that is late, `minute` minutes after nine."""
    return {
        "event": name,
        "id": f"00000000-0000-0000-0000-0000000000{minute:02}",
        "occurred": f"2026-03-02T09:{minute:02}:00Z",
        "resource": {"tocsin.resource.id": "orders", "warehouse": warehouse},
        **more,
    }


def write(*events: dict[str, Any]) -> None:
    Path("events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))


def rows(done: Done) -> list[Any]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


SIMULATE = ("simulate", "--automations", "rules.yaml", "--events", "events.jsonl", "-o", "jsonl")


def test_a_simulation_prints_one_object_a_firing(cli: Cli) -> None:
    write(*(event("orders.late", minute) for minute in (5, 1, 3, 2, 4)), event("orders.lost", 6))
    assert rows(cli(*SIMULATE)) == [
        {
            "automation": "late", "state": "Triggered", "at": "2026-03-02T09:05:00+00:00", "count": 5,
            "event_id": "00000000-0000-0000-0000-000000000005", "labels": {"warehouse": "north"}, "children": [],
        },
        {
            "automation": "hook", "state": "Triggered", "at": "2026-03-02T09:06:00+00:00", "count": 1,
            "event_id": "00000000-0000-0000-0000-000000000006", "labels": {}, "children": [],
        },
    ]  # fmt: skip
    assert [row["automation"] for row in rows(cli(*SIMULATE, "--until", "2026-03-02T09:05:30Z"))] == ["late"]
    assert [row["automation"] for row in rows(cli(*SIMULATE, "--since", "2026-03-02T09:02:00Z"))] == ["hook"]
    assert cli("ls", "-o", "json").json() == []
    assert "hook" in cli(*SIMULATE[:-1], "table").out
    assert [row["automation"] for row in cli(*SIMULATE[:-1], "json").json()] == ["late", "hook"]


def test_a_bad_line_is_named_or_left_out(cli: Cli) -> None:
    write(event("orders.lost", 1), {"event": "x"}, event("orders.lost", 2))
    assert "events.jsonl, line 2: " in cli(*SIMULATE).err
    skipping = cli(*SIMULATE, "--skip-bad")
    assert (len(rows(skipping)), "1 lines of events.jsonl" in skipping.err) == (2, True)


def test_two_versions_are_told_apart_by_their_firings(cli: Cli) -> None:
    write(*(event("orders.late", minute) for minute in range(1, 6)), event("orders.lost", 6))
    Path("new.yaml").write_text(RULES.replace("threshold: 5", "threshold: 4"))
    changed = cli("simulate", "--automations", "new.yaml", *SIMULATE[3:], "--against", "rules.yaml")
    assert [(row["only"], row["at"][14:16], row["count"]) for row in rows(changed)] == [
        ("automations", "04", 4), ("against", "05", 5),
    ]  # fmt: skip
    assert "1 firings in both, 2 in one only" in changed.err
    assert rows(cli(*SIMULATE, "--against", "rules.yaml")) == []
    cli("apply", "rules.yaml")
    assert len(rows(cli("simulate", "--automations", "new.yaml", *SIMULATE[3:], "--against", "stored"))) == 2


def test_what_is_on_record_is_simulated_on_the_log(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    with pytest.raises(SystemExit):
        main(("event", "emit", "orders.lost", "orders"))
    cli("ls")  # takes away what the other command printed
    assert [row["automation"] for row in rows(cli("simulate", "-o", "jsonl"))] == ["hook"]
    assert rows(cli("simulate", "-o", "jsonl", "--since", "2100-01-01T00:00:00Z")) == []
    assert cli("simulate", "--since", "2100-01-01T00:00:00Z").out == "nothing fires\n"


def test_an_instant_without_a_zone_is_refused(cli: Cli) -> None:
    assert "--until 2026-03-02T09:00:00: no time zone" in cli(*SIMULATE, "--until", "2026-03-02T09:00:00").err
