"""Notifiers in a file: secrets by name or from the environment, mistakes told without a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.test_cli import Cli, cli
from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import Email, PagerDuty, Slack
from tocsin.notifiers.registry import get_notifier
from tocsin.server.notifier_files import notifiers_in
from tocsin.store.engine import Store

__all__ = ["cli"]

FILE = """
notifiers:
  - {kind: slack, name: oncall, token: {secret: slack token}, channel: C0123456789}
  - {kind: pagerduty, name: pager, routing_key: {env: ROUTING_KEY}, links: {runbook: "https://wiki.example"}}
  - kind: email
    name: mail
    host: smtp.example
    sender: tocsin@example.com
    recipients: [oncall@example.com]
"""


def test_a_file_puts_notifiers_on_record(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "notifiers.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("ROUTING_KEY", "planted-routing".ljust(32, "x"))
    monkeypatch.setenv("TOKEN", "xoxb-planted-token")
    missing = cli("notifier", "apply", str(file))
    assert (missing.code, "tocsin secret put" in missing.err) == (1, True)
    assert cli("secret", "put", "slack token", "--env", "TOKEN").code == 0
    assert [row["name"] for row in cli("notifier", "apply", str(file), "-o", "json").json()] == [
        "oncall",
        "pager",
        "mail",
    ]
    store = Store.open()
    with store.read() as session:
        slack, pager, mail = (get_notifier(session, name) for name in ("oncall", "pager", "mail"))
    store.close()
    assert isinstance(slack, Slack)
    assert slack.token.get_secret_value() == "xoxb-planted-token"
    assert isinstance(pager, PagerDuty)
    assert pager.links == {"runbook": "https://wiki.example"}
    assert isinstance(mail, Email)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param("{kind: slak, name: a}", "known: apprise, email", id="an unknown kind"),
        pytest.param("[1]", "object with kind and name", id="no object"),
        pytest.param("notifiers: []", "no notifier in it", id="nothing"),
        pytest.param("{kind: pagerduty, name: a, routing_key: planted-short}", "32 characters", id="a short key"),
        pytest.param("{kind: pagerduty, name: a, routing_key: {env: NOT_SET}}", "which is not set", id="not set"),
        pytest.param("{kind: apprise, name: a, url: planted, x: 1}", "x: Extra inputs", id="an unknown field"),
        pytest.param(
            "[{kind: apprise, name: a, url: 'json://a'}, {kind: apprise, name: a, url: 'json://b'}]",
            "two notifiers are named a",
            id="twice",
        ),
    ],
)
def test_a_mistake_is_told_without_a_value(tmp_path: Path, document: str, says: str) -> None:
    file = tmp_path / "notifiers.yaml"
    file.write_text(document)
    with pytest.raises(Invalid, match=says) as caught:
        notifiers_in(str(file), {})
    assert "planted" not in str(caught.value)
