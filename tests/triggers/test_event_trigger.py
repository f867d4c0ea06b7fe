"""Event triggers: what they cover, their keys, what is refused, what is read as what."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.triggers.drive import Drive, event
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger, begins, covers, key_of
from tocsin.triggers.interest import interests

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def an_event(name: str = "a.b", number: int = 0, at: float = 0, **more: Any) -> Event:
    resource = {"tocsin.resource.id": "tocsin.flow-run.1", "region": "eu", **more.pop("resource", {})}
    return Event(
        id=UUID(int=number), event=name, occurred=START + timedelta(seconds=at), resource=resource, related=RELATED
    )


RELATED = [
    {"tocsin.resource.id": "tocsin.flow.etl", "tocsin.resource.role": "flow", "team": "data"},
    {"tocsin.resource.id": "tocsin.tag.prod", "tocsin.resource.role": "tag"},
]

COVERED = [
    pytest.param({"expect": "a.b"}, True, id="exact name"),
    pytest.param({"expect": ["x", "a.*"]}, True, id="one of several, with a star"),
    pytest.param({"expect": ["a.b.*"]}, False, id="a star is one character or more"),
    pytest.param({"expect": ["a"]}, False, id="no prefix without a star"),
    pytest.param({"match": {"region": "e*"}}, True, id="label by glob, any name"),
    pytest.param({"match": {"region": ["us", "eu"]}}, True, id="any of a list"),
    pytest.param({"match": {"region": "!us"}}, True, id="negation"),
    pytest.param({"match": {"zone": "!us"}}, False, id="an absent label fails even a negation"),
    pytest.param({"match": {"region": "eu", "zone": "*"}}, False, id="all labels must match"),
    pytest.param({"match_related": {"tocsin.resource.role": "flow", "team": "data"}}, True, id="one related resource"),
    pytest.param({"match_related": {"tocsin.resource.role": "tag", "team": "data"}}, False, id="not spread over two"),
    pytest.param(
        {"match_related": [{"team": "data"}, {"tocsin.resource.id": "tocsin.tag.prod"}]}, True, id="each of a list"
    ),
    pytest.param({"match_related": [{"team": "data"}, {"team": "ops"}]}, False, id="one of a list is not met"),
    pytest.param({"match": {"prefect.resource.id": "prefect.flow-run.*"}}, True, id="Prefect's labels and ids"),
    pytest.param({"match": {"prefect.resource.id": ["!prefect.flow-run.*"]}}, False, id="Prefect's ids, negated"),
]


@pytest.mark.parametrize(("fields", "expected"), COVERED)
def test_a_trigger_covers_the_events_it_describes(fields: dict[str, Any], expected: bool) -> None:
    assert covers(EventTrigger.model_validate(fields), an_event()) is expected


NAMES = [
    pytest.param(["prefect.b", "prefect.a"], ["prefect.a", "prefect.b", "tocsin.a", "tocsin.b"], id="Prefect's: both"),
    pytest.param("prefect.a.*", ["prefect.a.*", "tocsin.a.*"], id="a pattern"),
    pytest.param(["tocsin.a", "prefect.a"], ["prefect.a", "tocsin.a"], id="both given, each once"),
    pytest.param(["tocsin.a"], ["tocsin.a"], id="ours: only that"),
    pytest.param(["prefecture.a"], ["prefecture.a"], id="another word"),
]


@pytest.mark.parametrize(("written", "read"), NAMES)
def test_an_event_name_of_prefect_means_ours_too(written: Any, read: list[str]) -> None:
    trigger = EventTrigger(expect=written, after=written, within=timedelta(seconds=1))
    assert (trigger.expect, trigger.after) == (tuple(read), tuple(read))


IDS = [
    pytest.param("prefect.a.*", ["tocsin.a.*", "prefect.a.*"], id="Prefect's: both"),
    pytest.param(["prefect.a", "b"], ["tocsin.a", "prefect.a", "b"], id="in a list"),
    pytest.param(["prefect.a", "tocsin.a"], ["tocsin.a", "prefect.a"], id="both given, each once"),
    pytest.param("!prefect.a", "!tocsin.a", id="negated: ours"),
    pytest.param(["!prefect.a", "b"], ["!tocsin.a", "b"], id="negated in a list"),
    pytest.param("tocsin.a", "tocsin.a", id="ours: only that"),
]


@pytest.mark.parametrize(("written", "read"), IDS)
def test_a_resource_id_of_prefect_means_ours_too(written: str | list[str], read: str | list[str]) -> None:
    asked = {"prefect.resource.id": written, "kind": "prefect.a"}
    trigger = EventTrigger(match=asked, match_related=asked)
    assert trigger.match == {"tocsin.resource.id": read, "kind": "prefect.a"}
    assert trigger.specifications == (trigger.match,)


@pytest.mark.parametrize("prefix", ["prefect", "tocsin"])
@pytest.mark.parametrize("named", ["prefect", "tocsin"])
def test_a_rule_of_prefect_meets_events_of_both(prefix: str, named: str) -> None:
    run = {"tocsin.resource.id": f"{named}.flow-run.1"}
    fields = {"expect": f"{prefix}.flow-run.Failed", "match": {"prefect.resource.id": f"{prefix}.flow-run.*"}}
    event = an_event(f"{named}.flow-run.Failed", resource=run)
    assert covers(EventTrigger.model_validate(fields), event) is (prefix == "prefect" or named == "tocsin")


KEYS = [
    pytest.param((), (), id="no labels, one key"),
    pytest.param(("region",), ("eu",), id="a label"),
    pytest.param(("prefect.resource.id", "region"), ("tocsin.flow-run.1", "eu"), id="in their order"),
    pytest.param(("zone",), ("",), id="an absent label is empty"),
    pytest.param(("related:flow:tocsin.resource.id",), ("tocsin.flow.etl",), id="of a related resource"),
    pytest.param(("related:deployment:name",), ("",), id="of a role nobody has"),
]


@pytest.mark.parametrize(("labels", "key"), KEYS)
def test_the_key_is_made_of_labels(labels: tuple[str, ...], key: tuple[str, ...]) -> None:
    assert key_of(EventTrigger(expect=("a",), for_each=labels), an_event()) == key


REFUSED = [
    pytest.param({}, "empty trigger", id="empty"),
    pytest.param({"match": {}, "match_related": [{}], "where": " "}, "empty trigger", id="empty in other words"),
    pytest.param({"threshold": 0}, "empty trigger", id="empty, threshold 0"),
    pytest.param({"within": 60, "for_each": ["k"]}, "empty trigger", id="empty, within and for_each"),
    pytest.param({"window": "tumbling"}, "empty trigger", id="empty, tumbling, within 0"),
    pytest.param({"threshold": 2}, "needs within", id="empty, threshold without within"),
    pytest.param({"expect": ["a?"]}, "exact or holds", id="? in a name"),
    pytest.param({"expect": ["[ab]"]}, "exact or holds", id="[ in a name"),
    pytest.param({"after": ["!a"]}, "exact or holds", id="! in a name"),
    pytest.param({"expect": ["a"], "threshold": 2}, "needs within", id="threshold without within"),
    pytest.param({"expect": ["a"], "threshold": -1}, "greater than or equal to 0", id="threshold below 0"),
    pytest.param({"expect": ["a"], "after": ["b"]}, "after needs within", id="after without within"),
    pytest.param({"expect": ["a"], "within": -1}, "greater than or equal", id="within below 0"),
    pytest.param({"expect": ["a"], "within": 1e9}, "less than or equal", id="within beyond a year"),
    pytest.param({"expect": ["a"], "posture": "Proactive", "threshold": 0}, "fewer than none", id="none expected"),
    pytest.param({"expect": ["a"], "grace": 5}, "leave grace out", id="grace that does nothing"),
    pytest.param({"expect": ["a"], "window": "tumbling", "cooldown": 5}, "silent until its end", id="cooldown too"),
    pytest.param({"expect": ["a"], "window": "tumbling", "grace": 5}, "waits for nobody", id="grace too"),
    pytest.param({"expect": ["a"], "window": "hopping"}, "sliding", id="another window"),
    pytest.param({"expect": ["a"], "posture": "Metric"}, "Proactive", id="another posture"),
    pytest.param({"expect": ["a"], "where": "payload.("}, "where", id="no expression"),
    pytest.param({"expect": ["a"], "where": "payloads.n"}, "no field", id="an expression about nothing"),
    pytest.param({"type": "compound", "triggers": []}, "'event'", id="another kind"),
    pytest.param({"expect": ["a"], "for_each": ["related:flow"]}, "related:<role>:<label>", id="half a related label"),
    pytest.param({"expect": ["a"], "when": "x"}, "Extra inputs", id="an unknown field"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        EventTrigger.model_validate(fields)


ANY_EVENT = [
    pytest.param({"threshold": 2, "within": 60}, [1, 11], id="threshold and within"),
    pytest.param({"after": ["b"], "within": 60}, [2], id="after"),
    pytest.param({"cooldown": 5}, [0, 11], id="cooldown"),
    pytest.param({"posture": "Proactive", "within": 6, "for_each": ["k"]}, [8, 18], id="proactive"),
    pytest.param({"posture": "Proactive", "within": 1, "after": ["b"]}, [2], id="proactive, after"),
    pytest.param({"window": "tumbling", "within": 10}, [0, 11], id="tumbling, within"),
    pytest.param({"window": "tumbling", "threshold": 2}, [1, 11], id="tumbling, every second event"),
]


@pytest.mark.parametrize(("fields", "fired"), ANY_EVENT)
def test_an_empty_trigger_that_does_not_fire_on_all_means_any_event(fields: dict[str, Any], fired: list[int]) -> None:
    happened = [event(name, at, at) for name, at in (("a", 0), ("b", 1), ("c", 2), ("d", 11), ("e", 12))]
    assert Drive(EventTrigger.model_validate(fields)).begin().tell_all(happened).until(1_000).fired == fired


READ = [
    pytest.param({"threshold": 0}, {"threshold": 1}, id="threshold 0 is 1"),
    pytest.param({"posture": "Proactive"}, {"posture": "Proactive", "within": 10}, id="proactive within 0 is 10 s"),
    pytest.param({"posture": "Proactive", "within": "PT0S"}, {"posture": "Proactive", "within": 10}, id="in any form"),
    pytest.param({"where": " payload.n "}, {"where": "payload.n"}, id="an expression without its margins"),
    pytest.param({"after": "b", "within": 5}, {"after": ["b"], "within": 5}, id="a name"),
    pytest.param({"id": "0", "type": "event"}, {}, id="what Prefect adds"),
    pytest.param({"cooldown": "PT1H"}, {"cooldown": 3600}, id="durations as text"),
]


@pytest.mark.parametrize(("written", "read"), READ)
def test_what_is_written_short_is_read_in_full(written: dict[str, Any], read: dict[str, Any]) -> None:
    full = EventTrigger.model_validate({"expect": ["a"], **read})
    assert EventTrigger.model_validate({"expect": ["a"], **written}) == full


def test_tumbling_windows_keep_what_prefect_means_by_nothing() -> None:
    trigger = EventTrigger.model_validate({"expect": ["a"], "after": ["b"], "window": "tumbling", "threshold": 0})
    assert (trigger.threshold, trigger.within) == (0, timedelta(0))


def test_numbers_are_seconds_and_durations_are_read() -> None:
    seconds, iso = ({"expect": "a", "threshold": 2, "within": within} for within in (90, "PT90S"))
    assert EventTrigger.model_validate(seconds) == EventTrigger.model_validate(iso)


def test_the_fields_of_an_exported_prefect_trigger_are_accepted() -> None:
    exported: dict[str, Any] = {
        "type": "event",
        "id": "0",
        "match": {},
        "match_related": {},
        "after": [],
        "expect": ["prefect.x"],
    }
    exported |= {"for_each": ["prefect.resource.id"], "posture": "Reactive", "threshold": 1, "within": 0.0}
    trigger = EventTrigger.model_validate(exported)
    assert trigger == EventTrigger.model_validate(json.loads(trigger.model_dump_json()))


PREFECT = [
    pytest.param(
        {
            "type": "event",
            "id": "2f1b7f2e-0000-4000-8000-000000000000",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": [{"prefect.resource.role": "flow", "prefect.resource.name": ["etl", "elt"]}],
            "after": ["prefect.flow-run.Running"],
            "expect": ["prefect.flow-run.Completed", "prefect.flow-run.heartbeat"],
            "for_each": ["prefect.resource.id", "related:flow:prefect.resource.id"],
            "posture": "Proactive",
            "threshold": 1,
            "within": 3600.0,
        },
        {
            "match": {"tocsin.resource.id": ["tocsin.flow-run.*", "prefect.flow-run.*"]},
            "match_related": [{"tocsin.resource.role": "flow", "tocsin.resource.name": ["etl", "elt"]}],
            "after": ["prefect.flow-run.Running", "tocsin.flow-run.Running"],
            "expect": [
                *("prefect.flow-run.Completed", "prefect.flow-run.heartbeat"),
                *("tocsin.flow-run.Completed", "tocsin.flow-run.heartbeat"),
            ],
            "for_each": ["tocsin.resource.id", "related:flow:tocsin.resource.id"],
            "posture": "Proactive",
            "within": 3600,
        },
        id="proactive",
    ),
    pytest.param(
        {"match": {}, "match_related": {}, "after": [], "expect": ["prefect.x"], "for_each": [], "posture": "Reactive"},
        {"expect": ["prefect.x", "tocsin.x"]},
        id="reactive, all else empty",
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), PREFECT)
def test_an_automation_of_prefect_is_read_as_it_is(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert EventTrigger.model_validate(theirs) == EventTrigger.model_validate(ours)


def test_a_condition_is_asked_of_what_is_expected_and_not_of_what_it_begins_after() -> None:
    trigger = EventTrigger(expect=("a.b",), after=("a.*",), where="payload.n > `1`", within=timedelta(seconds=5))
    few, many = (msgspec.structs.replace(an_event(), payload={"n": n}) for n in (1, 2))
    assert not covers(trigger, few)
    assert covers(trigger, many)
    assert begins(trigger, few)


def test_what_it_is_told_of_is_numbered_by_its_place() -> None:
    trigger = EventTrigger(expect=("a",), after=("b",), where="payload.n", within=timedelta(seconds=5), for_each=("k",))
    expected, after = interests(trigger, leaf=3)
    assert (expected.number, expected.names, expected.where) == (6, ("a",), trigger.expression)
    assert (after.number, after.names, after.where, after.labels) == (7, ("b",), None, ("k",))
    assert [one.number for one in interests(EventTrigger(expect=("a",)))] == [0]


COUNTED_ALIKE = [
    pytest.param({"grace": 5}, True, id="grace"),
    pytest.param({"cooldown": 5}, True, id="cooldown"),
    pytest.param({"match": {"y": "2", "x": ["b", "a"]}}, True, id="another order"),
    pytest.param({"match": {"y": "2", "x": ["a"]}}, False, id="another pattern"),
    pytest.param({"threshold": 3}, False, id="threshold"),
    pytest.param({"within": 61}, False, id="within"),
    pytest.param({"where": "payload.n"}, False, id="where"),
    pytest.param({"after": ["b"]}, False, id="after"),
    pytest.param({"posture": "Proactive"}, False, id="posture"),
    pytest.param({"window": "tumbling"}, False, id="window"),
    pytest.param({"for_each": ["k"]}, False, id="for_each"),
]


@pytest.mark.parametrize(("change", "same"), COUNTED_ALIKE)
def test_a_fingerprint_changes_with_what_is_counted(change: dict[str, Any], same: bool) -> None:
    fields = {"expect": ["a"], "match": {"x": ["a", "b"], "y": "2"}, "threshold": 2, "within": 60}
    one, other = (EventTrigger.model_validate(given) for given in (fields, {**fields, **change}))
    assert (one.fingerprint == other.fingerprint) is same


LEFT_ALONE = [
    pytest.param({}, True, False, id="one event"),
    pytest.param({"within": 60}, True, False, id="within, of one event"),
    pytest.param({"within": 60, "window": "tumbling"}, False, False, id="deaf for a while"),
    pytest.param({"window": "tumbling"}, True, False, id="tumbling, within 0"),
    pytest.param({"cooldown": 60}, False, False, id="silent for a while"),
    pytest.param({"within": 60, "threshold": 2}, False, False, id="counting"),
    pytest.param({"within": 60, "after": ["b"]}, False, False, id="after"),
    pytest.param({"posture": "Proactive"}, False, True, id="a dead man's switch"),
    pytest.param({"posture": "Proactive", "for_each": ["k"]}, False, False, id="one for each"),
    pytest.param({"posture": "Proactive", "after": ["b"]}, False, False, id="absence"),
    pytest.param({"posture": "Proactive", "after": ["b"], "window": "tumbling"}, False, True, id="as Prefect's"),
]


@pytest.mark.parametrize(("fields", "stateless", "starts"), LEFT_ALONE)
def test_it_tells_whether_it_remembers_and_whether_it_waits_from_the_beginning(
    fields: dict[str, Any], stateless: bool, starts: bool
) -> None:
    trigger = EventTrigger.model_validate({"expect": ["a"], **fields})
    assert (trigger.stateless, trigger.starts) == (stateless, starts)


names = st.lists(st.sampled_from(("a", "a.*", "prefect.b")), max_size=2)
wanted = ("1", "!1", ["1", "2*"], "prefect.a", "!prefect.a", ["1", "prefect.a", "tocsin.a"])
patterns = st.dictionaries(st.sampled_from(("x", "prefect.resource.id")), st.sampled_from(wanted))
spans = st.integers(1, 10**9).map(lambda micros: micros / 1_000_000)
written = st.fixed_dictionaries(
    {"expect": st.sampled_from((["a"], ["prefect.b", "a.*"])), "within": spans},
    optional={
        "match": patterns,
        "match_related": patterns | st.lists(patterns, max_size=2),
        "after": names,
        "where": st.sampled_from((None, "payload.n > `1`")),
        "for_each": st.lists(st.sampled_from(("k", "related:flow:k")), max_size=2, unique=True),
        "posture": st.sampled_from(("Reactive", "Proactive")),
        "threshold": st.integers(1, 9),
        "window": st.sampled_from(("sliding", "tumbling")),
        "grace": st.none() | spans,
        "cooldown": spans,
    },
)


@given(written)
def test_a_trigger_is_the_same_after_a_trip_through_json(fields: dict[str, Any]) -> None:
    try:
        trigger = EventTrigger.model_validate(fields)
    except ValidationError:
        assume(False)
    again = EventTrigger.model_validate(json.loads(json.dumps(trigger.model_dump(mode="json"))))
    assert again == trigger
    assert again.fingerprint == trigger.fingerprint


def test_a_copy_that_is_changed_is_read_anew() -> None:
    trigger = EventTrigger(expect=("a",), posture="Proactive")
    assert trigger.starts
    copy = trigger.model_copy(update={"for_each": ("k",), "grace": timedelta(seconds=1)})
    assert (copy.starts, copy.patience) == (False, 1_000_000)
    assert copy.fingerprint != trigger.fingerprint
