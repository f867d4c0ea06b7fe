"""The examples of docs/routes.md: Python and YAML say the same, and an alert goes where the page says."""

import re
from pathlib import Path

from tocsin.automations.routing import read_routing, routing_in
from tocsin.notifiers.alertmanager import receiver_name
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.route import group_of, grow, nodes

PAGE = Path(__file__).parents[2] / "docs" / "routes.md"


def test_the_examples_of_the_page_are_one_and_go_where_it_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = {kind: re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "yaml")}
    [python], [yaml] = blocks["python"], blocks["yaml"]
    page: dict[str, object] = {}
    exec(compile(python, str(PAGE), "exec"), page)  # the page's own code
    found = routing_in(list(page.values()), "routes.md")
    again = read_routing(yaml, "routes.yaml")
    assert found.mute_windows == again.mute_windows
    assert found.inhibitions == again.inhibitions
    windows = {window.name: window for window in found.mute_windows}
    assert grow(found.routes[0], windows) == grow(again.routes[0], windows)

    labels = {"severity": "critical", "alertname": "late-etl"}
    [node] = nodes(grow(found.routes[0], windows), labels)
    assert (node.path, receiver_name(node)) == ("oncall/severity-critical", "pager+slack")
    assert group_of(node, labels) == {"alertname": "late-etl"}


def test_the_matchers_of_the_page_are_read() -> None:
    shown = re.findall(r"`(\w+(?:=~|!~|!=|=)\"[^`]*\")`", PAGE.read_text(encoding="utf-8"))
    assert len(shown) >= 5
    for text in shown:
        read_matchers(text)
