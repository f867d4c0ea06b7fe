"""Automations as files and modules; errors that name file, line and field; YAML without its traps."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.automations.documents import automation_from, load, parse
from tocsin.automations.export import export
from tocsin.automations.findings import field_path
from tocsin.automations.model import Automation
from tocsin.events.errors import Invalid
from tocsin.notifiers import SlackWebhook
from tocsin.triggers import EventTrigger

ONE = """
name: late-orders
trigger:
  expect: [orders.late]
  for_each: [tocsin.resource.id]
actions:
  - type: send-notification
    notifier: slack
    body: "{{ event.payload.n }} orders are late"
"""
EXPECTED = Automation.model_validate(
    {
        "name": "late-orders",
        "trigger": EventTrigger(expect=["orders.late"], for_each=["tocsin.resource.id"]),
        "actions": [
            {"type": "send-notification", "notifier": "slack", "body": "{{ event.payload.n }} orders are late"}
        ],
    }
)


def indented(text: str, mark: str) -> str:
    first, *rest = text.strip().splitlines()
    return "\n".join([f"{mark}{first}", *(" " * len(mark) + line for line in rest)])


SHAPES = [
    pytest.param(ONE, "a.yaml", id="one automation"),
    pytest.param(indented(ONE, "- "), "a.yaml", id="a list"),
    pytest.param("automations:\n" + indented(ONE, "  - "), "a.yaml", id="under automations"),
    pytest.param("---\n# nothing here\n---" + ONE, "a.yaml", id="several documents"),
    pytest.param(EXPECTED.model_dump_json(indent=2), "a.json", id="JSON"),
    pytest.param(f"[{EXPECTED.model_dump_json()}]", "a.json", id="a JSON list"),
    pytest.param(EXPECTED.model_dump_json(), "a.yaml", id="JSON is YAML"),
]


@pytest.mark.parametrize(("text", "name"), SHAPES)
def test_a_document_holds_automations(text: str, name: str) -> None:
    assert parse(text, name) == [EXPECTED]


MISTAKES = [
    pytest.param(
        ONE.replace("notifier: slack", "notifer: slack"),
        "line 8, actions.0.notifer: unknown field; did you mean notifier?",
        id="missing field",
    ),
    pytest.param(
        ONE.replace("notifier: slack", "notifer: slack"),
        "line 8, actions.0.notifer: unknown field; did you mean notifier?",
        id="misspelt",
    ),
    pytest.param(
        ONE.replace("send-notification", "send"),
        "line 7, actions.0: unknown type 'send'; known: ",
        id="unknown action",
    ),
    pytest.param(ONE.replace("[orders.late]", '["orders.?"]'), 'line 4, trigger.expect: "orders.?"', id="bad pattern"),
    pytest.param(ONE.replace("n }}", "n }"), "line 9, actions.0.body: template", id="bad template"),
    pytest.param(ONE + "name: again\n", 'line 10: key "name" is given twice', id="duplicate key"),
    pytest.param(ONE + "  bad: [\n", "a.yaml, line 1", id="no YAML"),
    pytest.param("just text", "expected an automation", id="text"),
    pytest.param("- 1", "should be a valid dictionary", id="a number"),
    pytest.param("a: !!python/object/apply:os.system [ls]", "not plain data", id="a Python tag"),
    pytest.param("a: !!python/name:os.system", "could not determine a constructor", id="a Python name"),
    pytest.param("&a [*a]", "too large or nested too deep", id="an anchor inside itself"),
    pytest.param("[" * 5_000, "nested too deep", id="brackets"),
    pytest.param("? [a]\n: b", "a key is plain text", id="a list as key"),
    pytest.param("a: \x01", "special characters", id="control characters"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_told_with_line_and_field(text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text, "a.yaml")
    assert message in str(caught.value)
    assert "a.yaml" in str(caught.value)


NESTED = """
- name: both
  trigger:
    type: sequence
    within: 60
    triggers:
      - expect: [a]
      - type: compound
        triggers:
          - {expect: [b]}
          - expect: [c]
            threshold: 2
            within: 10
            where: payload.n
      - metric:
          name: duration
          operator: ">"
          threshold: 5
"""
INNER = "trigger.triggers.1.triggers.1"
INSIDE = [
    ("expect: [c]", "expct: [c]", f"line 11, {INNER}.expct: unknown field; did you mean expect?"),
    ("expect: [c]", 'expect: ["c?"]', f'line 11, {INNER}.expect: "c?"'),
    ("where: payload.n", "where: payload.", f"line 14, {INNER}.where: "),
    ("            within: 10\n", "", f"line 11, {INNER}: threshold 2 needs within"),
    (
        "type: compound",
        "type: compund",
        "line 8, trigger.triggers.1: unknown type 'compund'; did you mean compound?; known: event, compound, sequence",
    ),
    ('operator: ">"', 'operator: "="', "line 17, trigger.triggers.2.metric.operator: Input should be '<'"),
    ("name: duration", "nam: duration", "line 16, trigger.triggers.2.metric.nam: unknown field; did you mean name?"),
    ("within: 60", "within: 0", "line 3, trigger: within 0 leaves no time"),
    ("within: 60", "require: 2", "line 5, trigger.require: a field of another kind"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), INSIDE)
def test_a_mistake_inside_a_trigger_of_triggers_is_told_with_its_line(right: str, wrong: str, message: str) -> None:
    assert len(parse(NESTED, "a.yaml")) == 1
    with pytest.raises(Invalid) as caught:
        parse(NESTED.replace(right, wrong, 1), "a.yaml")
    assert message in str(caught.value)


def test_two_of_a_name_in_one_file_are_told_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(indented(ONE, "- ") + "\n" + indented(ONE, "- ") + "\n")
    with pytest.raises(Invalid, match=r'a\.yaml: automation "late-orders" is defined twice, on line 1 and on line 9;'):
        load(str(tmp_path / "a.yaml"))


PLAIN = st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats() | st.sampled_from(["x", "*", "!a", "PT1M"])
NAMES = st.sampled_from(["a", "type", "name"])
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
FIELDS = ["type", "expect", "match", "match_related", "after", "where", "for_each", "posture", "threshold", "within"]
FIELDS += ["window", "grace", "cooldown", "metric", "triggers", "require", "id", "_"]
KINDS = st.sampled_from(["event", "compound", "sequence", "metric", "other"])
TRIGGERS = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
    lambda inner: st.fixed_dictionaries({"triggers": st.lists(inner, max_size=3), "type": KINDS}),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(TRIGGERS, st.lists(st.dictionaries(st.sampled_from(["type", "notifier", "url", "budget"]), VALUES), max_size=2))
def test_whatever_a_document_says_it_is_read_or_refused(trigger: Any, actions: list[Any]) -> None:
    text = json.dumps([{"name": "x", "trigger": trigger, "actions": actions}])
    try:
        found = parse(text, "a.json")
    except Invalid as error:
        found = []
        refused = str(error)
    assert found or refused.startswith("a.json")
    assert parse(export(found, "yaml"), "b.yaml") == found


LOCATIONS = [
    pytest.param(("trigger", "event", "expect"), "trigger.expect", id="one kind of trigger"),
    pytest.param(("resolve_on", "event"), "resolve_on", id="the whole of it"),
    pytest.param(("actions", 0, "send-notification", "notifier"), "actions.0.notifier", id="an action"),
    pytest.param(("trigger", "match", "dict[str,str]", "team", "str"), "trigger.match.team", id="one of several types"),
    pytest.param(("actions", 0, "call-webhook", "headers", "do-nothing"), "actions.0.headers.do-nothing", id="a key"),
    pytest.param(("trigger", "match", "event"), "trigger.match.event", id="a label that is named like a kind"),
]


@pytest.mark.parametrize(("location", "path"), LOCATIONS)
def test_a_field_is_named_as_the_document_has_it(location: tuple[str | int, ...], path: str) -> None:
    assert ".".join(map(str, field_path(location))) == path


def test_mistakes_in_json_have_lines_too() -> None:
    text = EXPECTED.model_dump_json(indent=2).replace("send-notification", "send")
    with pytest.raises(
        Invalid, match=r"a\.json: automation \"late-orders\": line \d+, actions\.0: unknown type 'send'"
    ):
        parse(text, "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', '"a" is given twice'),
        ("{", "line 1"),
        ("[" * 100_000, "deep"),
        ("[NaN]", "NaN is not JSON"),
    ],
)
def test_json_is_read_with_care(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        parse(text, "a.json")


def test_a_bomb_of_anchors_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Invalid, match="too large"):
        parse("\n".join(lines), "a.yaml")


def test_anchors_may_be_used() -> None:
    text = "a: &labels [tocsin.resource.id]\n"
    with pytest.raises(Invalid, match="unknown field"):
        parse(text + ONE.replace("[tocsin.resource.id]", "*labels"), "a.yaml")
    both = f"- {indented(ONE, '  ').strip()}\n".replace("for_each: [", "for_each: &labels [")
    assert parse(both, "a.yaml") == [EXPECTED]


WORDS = ["no", "on", "12:30", "2026-03-02", "0x10", "1_000", "=", "<<"]


@pytest.mark.parametrize("word", WORDS)
def test_words_stay_words(word: str) -> None:
    text = ONE.replace("name: late-orders", f"name: {word}").replace("slack", word)
    assert parse(text, "a.yaml")[0].name == word


def test_an_object_without_a_document_names_the_field_only() -> None:
    with pytest.raises(Invalid, match=r'^automation: automation "x": trigger: Field required$'):
        automation_from({"name": "x"})


MODULE = """
from tocsin.automations import Automation, DoNothing
from tocsin.notifiers import SlackWebhook
from tocsin.triggers import EventTrigger

slack = SlackWebhook(name="slack", url="https://hooks.slack.test/x")
rules = [Automation(name=f"rule-{n}", trigger=EventTrigger(expect={f"event.{n}"})) for n in range(2)]
again = rules[0]
_hidden = Automation(name="hidden", trigger=EventTrigger(expect={"x"}))
"""


def test_a_python_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(MODULE)
    loaded = load(str(tmp_path / "rules.py"))
    assert [one.name for one in loaded.automations] == ["rule-0", "rule-1"]
    assert [type(one) for one in loaded.notifiers] == [SlackWebhook]


def test_a_module_is_read_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load("rules_of_a_test").automations) == 2


BROKEN = [
    pytest.param("x = 1 / 0\n", "line 1: ZeroDivisionError", id="an error"),
    pytest.param("x = 1\nx = (\n", "line 2: SyntaxError", id="no Python"),
    pytest.param(
        "from tocsin.triggers import EventTrigger\n\nEventTrigger()\n", "line 3: eventtrigger: an empty", id="refused"
    ),
    pytest.param(MODULE + 'rules.append(rules[0].model_copy(update={"tags": ("x",)}))\n', "rule-0", id="two of a name"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_python_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(Invalid, match=message):
        load(str(tmp_path / "broken.py"))


MISSING = [
    pytest.param("nowhere.yaml", "No such file", id="no file"),
    pytest.param("nowhere.py", "no such file", id="no Python file"),
    pytest.param("no.such.module", "No module named", id="no module"),
    pytest.param("what is this", "give a .yaml", id="neither"),
]


@pytest.mark.parametrize(("target", "message"), MISSING)
def test_what_is_not_there_is_said(target: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        load(target)


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "b.yaml").write_text("x" * 2_000_001)
    for name, message in (("a.yaml", "UTF-8"), ("b.yaml", "larger")):
        with pytest.raises(Invalid, match=message):
            load(str(tmp_path / name))


def test_a_mistake_in_python_is_told_with_its_own_line_not_a_librarys(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("import os\n\nurl = os.environ['NO_SUCH_VARIABLE']\n")
    with pytest.raises(Invalid, match=r"rules\.py, line 3: KeyError: 'NO_SUCH_VARIABLE'"):
        load(str(tmp_path / "rules.py"))
