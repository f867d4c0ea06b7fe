"""Random rules and events that meet often, and what a naive loop makes of them by the words of the definitions."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import strategies as st

from tocsin.automations.actions import DoNothing
from tocsin.automations.model import Automation
from tocsin.automations.route import interests
from tocsin.events.errors import EvaluationError
from tocsin.events.labels import matches, matches_some, name_matches
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.triggers.event import EventTrigger, key_values
from tocsin.triggers.interest import Interest
from tocsin.triggers.kinds import CompoundTrigger, Trigger
from tocsin.triggers.steps import Signal

RECEIVED = 7

NAMES = st.sampled_from(["a", "a.b", "a.b.c", "a.bc", "b", "b.a", "ab"])
PATTERNS = st.sampled_from(["a", "a.b", "a.*", "a*", "*", "*.a", "a.*.c", "b", "a.b*"])
LABELS = (RESOURCE_ID, "x", "y", "z")
VALUE_PATTERNS = st.sampled_from(
    ["1", "12", "2", "", "1*", "12*", "!1", "!1*", "!*2", "*", "*2", "1*1", "1?", "[12]", "!1[!1]", "[1]*"]
)
SPECIFICATIONS = st.dictionaries(
    st.sampled_from(LABELS), VALUE_PATTERNS | st.lists(VALUE_PATTERNS, max_size=3), max_size=3
)
CONJUNCTS = st.sampled_from(
    [
        "payload.p == '1'",
        "(payload.p == '1' || payload.p == '2')",
        "contains(['1', '12'], payload.p)",
        "payload.s.t == '1'",
        "payload.n > `1`",
        "payload.n >= `0`",
        "payload.n < `2`",
        "payload.n <= `1.5`",
        "payload.m > `0.25`",
        "`1` < payload.n",
        "payload.n == `1`",
        "resource.x == '1'",
        "resource.\"tocsin.resource.id\" == '12'",
        "event == 'a'",
        "payload.q",
        "payload.p != '1'",
        "length(payload.p) > `1`",
        "related[0].x == '1'",
        "(payload.s.t == '2' || payload.p == '2')",
    ]
)
CONDITIONS = st.lists(CONJUNCTS, min_size=1, max_size=3).map(" && ".join)
KEYS = st.lists(st.sampled_from(["x", "y", "related:flow:x", RESOURCE_ID]), max_size=2, unique=True)
JSON = st.sampled_from(["1", "2", "12", 0, 1, 1.5, 2, 10**400, True, None, ["1"], {"t": "1"}, {}])

EVENTS = st.builds(
    lambda name, resource, related, payload: Event(event=name, resource=resource, related=related, payload=payload),
    NAMES,
    st.dictionaries(st.sampled_from(LABELS), st.sampled_from(["1", "12", "2", "", "121"]), max_size=4),
    st.lists(
        st.dictionaries(st.sampled_from((*LABELS, RESOURCE_ROLE)), st.sampled_from(["1", "12", "flow"]), max_size=3),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["p", "n", "m", "q", "s"]), JSON, max_size=4),
)


def _trigger(after: list[str], for_each: list[str], **fields: object) -> EventTrigger:
    more = {"after": after, "within": 10} if after else {}
    return EventTrigger.model_validate({"for_each": for_each, **fields, **more})


Lists = st.SearchStrategy[list[str]]


def _triggers(for_each: Lists, after: Lists) -> st.SearchStrategy[EventTrigger]:
    return st.builds(
        _trigger,
        after=after,
        for_each=for_each,
        expect=st.lists(PATTERNS, min_size=1, max_size=3),
        match=SPECIFICATIONS,
        match_related=st.lists(SPECIFICATIONS, max_size=2),
        where=st.none() | CONDITIONS,
    )


AFTERS: Lists = st.just([]) | st.lists(PATTERNS, min_size=1, max_size=2)
TRIGGERS: st.SearchStrategy[Trigger] = _triggers(KEYS, AFTERS) | st.builds(
    lambda children: CompoundTrigger(require="any", triggers=children),
    st.lists(_triggers(st.just(["x"]), AFTERS), min_size=1, max_size=3),
)


@dataclass(frozen=True)
class Draft:
    """An automation without its name."""

    trigger: Trigger
    resolve_on: EventTrigger | None
    enabled: bool

    def named(self, name: str) -> Automation:
        """The automation. The trigger is one already, so it is not read again."""
        return Automation(
            name=name, trigger=self.trigger, resolve_on=self.resolve_on, enabled=self.enabled, actions=[DoNothing()]
        )


DRAFTS = st.builds(
    Draft, TRIGGERS, st.none() | _triggers(st.just([]), st.just([])), st.sampled_from([True, True, True, False])
)


def naive(automations: Iterable[Automation], event: Event) -> list[Signal]:
    """By the words of the definition: every interest of every automation is asked."""
    found = []
    for automation in sorted(automations, key=lambda one: one.name):
        keys: dict[tuple[str, ...], set[int]] = {}
        for interest in interests(automation):
            if meets(interest, event):
                keys.setdefault(key_values(interest.labels, event), set()).add(interest.number)
        for key, hits in sorted(keys.items()):
            told = tuple(sorted(hits))
            fires = automation.key_labels if automation.at_once else None
            found.append(Signal(automation.name, key, event, told, RECEIVED, fires))
    return found


def meets(interest: Interest, event: Event) -> bool:
    """Whether the event is of interest; a condition that fails is not met."""
    if interest.names and not any(name_matches(pattern, event.event) for pattern in interest.names):
        return False
    if not matches(interest.match, event.resource):
        return False
    if not all(matches_some(specification, event.related) for specification in interest.specifications):
        return False
    try:
        return interest.where is None or interest.where.meets(event)
    except EvaluationError:
        return False
