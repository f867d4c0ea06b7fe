"""The index gives what a naive loop over all automations gives."""

from hypothesis import given
from hypothesis import strategies as st

from tests.automations.parts import happened, quiet, rule
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger, covers, key_values
from tocsin.triggers.window import Signal

names = st.sampled_from(["a", "a.b", "a.b.c", "a.bc", "b", "b.a", "tocsin.x"])
patterns = st.sampled_from(["a", "a.b", "a.*", "a*", "*", "*.a", "a.*.c", "b", "tocsin.*"])
labels = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "12", "2"]), max_size=2)
wanted = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "1*", "!1", "*"]), max_size=2)
triggers = st.builds(
    lambda expect, match, related, each: EventTrigger(
        expect=expect, match={"tocsin.resource.id": "*", **match}, match_related=related, for_each=each
    ),
    st.lists(patterns, max_size=3),
    wanted,
    st.lists(wanted, max_size=2),
    st.sampled_from([("x",), ("y",)]),
)
rules = st.builds(
    lambda trigger, resolve_on, enabled: (trigger, resolve_on, enabled), triggers, st.none() | triggers, st.booleans()
)
events = st.builds(
    lambda name, own, related: happened(name, labels=own, related=[{"tocsin.resource.id": "r", **related}]),
    names,
    labels,
    labels,
)


def naive(automations: list[Automation], event: Event) -> list[Signal]:
    """By the words of the definition."""
    found = []
    for one in sorted(automations, key=lambda one: one.name):
        if one.resolve_on is not None and covers(one.resolve_on, event):
            found.append(Signal(one.name, key_values(one.resolve_labels, event), event, True))
        elif one.enabled and covers(one.trigger, event):
            found.append(Signal(one.name, key_values(one.trigger.for_each, event), event))
    return found


@given(st.lists(rules, max_size=12), st.lists(events, min_size=1, max_size=6))
def test_the_index_equals_the_naive_loop(
    drawn: list[tuple[EventTrigger, EventTrigger | None, bool]], happenings: list[Event]
) -> None:
    automations = [
        Automation(name=f"rule-{number:02}", trigger=trigger, resolve_on=resolve_on, enabled=enabled)
        for number, (trigger, resolve_on, enabled) in enumerate(drawn)
    ]
    index = Index(reversed(automations))
    for event in happenings:
        assert index.route(event) == naive(automations, event)
        assert index.route(event) == naive(automations, event)  # remembered, not looked up


def test_an_event_that_resolves_does_not_also_fire() -> None:
    index = Index([rule(trigger={"expect": ["a.*"]}, resolve_on={"expect": ["a.over"]})])
    assert [signal.over for name in ("a.begun", "a.over") for signal in index.route(happened(name))] == [False, True]


def test_a_disabled_automation_still_resolves() -> None:
    index = Index([rule(trigger={"expect": ["a"]}, resolve_on={"expect": ["b"]}, enabled=False)])
    assert [signal.over for name in ("a", "b") for signal in index.route(happened(name))] == [True]


def test_a_star_at_the_end_asks_for_at_least_one_character() -> None:
    index = Index([quiet("rule", "a.*")])
    assert [bool(index.route(happened(name))) for name in ("a", "a.", "a.b")] == [False, False, True]


def test_names_are_remembered_up_to_a_bound() -> None:
    index = Index([quiet("rule", "*7")])
    found = [number for number in range(10_000) if index.route(happened(f"name.{number}"))]
    assert found == [number for number in range(10_000) if str(number).endswith("7")]
    assert len(index._named) <= 4_096
