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
    twice = cli("plan", "rules.yaml", "rules.yaml")
    assert (twice.code, '"late" is defined twice' in twice.err) == (1, True)


def test_an_export_of_what_is_not_there_names_what_is(cli: Cli) -> None:
    cli("apply", "rules.yaml")
    assert 'unknown automation "lat"; known: hook, late' in cli("export", "lat").err
