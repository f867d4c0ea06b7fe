"""From somebody else's message to an event."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.triggers.mapping import Mapping, mapped, wanted

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "kind": "paid",
    "id": "A-7",
    "region": None,
    "rows": 5,
    "vip": True,
    "owners": [{"name": "ann"}, {"name": "bob"}],
    "at": "2026-03-01T09:00:00+01:00",
    "at_s": AT.timestamp(),
    "at_ns": int(AT.timestamp()) * 10**9,
    "uuid": "0197c1f2-8a34-7cc1-9f6e-4f3f7c1d2a10",
}
CONTEXT = {"headers": {"x-kind": "refund"}, "topic": "orders", "key": "A-7", "partition": 3}
LEAST = {"event": "'orders.paid'", "resource": "body.id"}


def event(body: Any = ORDER, **fields: Any) -> Event:
    return mapped(Mapping(**{**LEAST, **fields}), body, CONTEXT, NOW, origin="source:orders")


FOUND = [
    pytest.param({}, "event", "orders.paid", id="a text in quotes is itself"),
    pytest.param({"event": "join('.', [topic, body.kind])"}, "event", "orders.paid", id="an expression"),
    pytest.param({"event": "orders.{{ body.kind }}"}, "event", "orders.paid", id="a template"),
    pytest.param({"event": 'headers."x-kind"'}, "event", "refund", id="a header"),
    pytest.param({}, "resource", {"tocsin.resource.id": "A-7"}, id="one expression is the resource's id"),
    pytest.param(
        {
            "resource": {
                "tocsin.resource.id": "order.{{ key }}",
                "region": "body.region",
                "n": "body.rows",
                "v": "body.vip",
            }
        },
        "resource",
        {"tocsin.resource.id": "order.A-7", "n": "5", "v": "true"},
        id="labels: null is left out, numbers and booleans become text",
    ),
    pytest.param(
        {"resource": '{"prefect.resource.id": body.id}'},
        "resource",
        {"tocsin.resource.id": "A-7"},
        id="one expression that gives labels, in Prefect's words",
    ),
    pytest.param(
        {"related": 'body.owners[].{"tocsin.resource.id": name, "tocsin.resource.role": \'owner\'}'},
        "related",
        [{"tocsin.resource.id": name, "tocsin.resource.role": "owner"} for name in ("ann", "bob")],
        id="as many related resources as the message names",
    ),
    pytest.param(
        {"related": [{"tocsin.resource.id": "body.region", "tocsin.resource.role": "'region'"}]},
        "related",
        [],
        id="a related resource without an id is left out",
    ),
    pytest.param({}, "payload", ORDER, id="the payload is the message"),
    pytest.param({"payload": {"rows": "body.rows"}}, "payload", {"rows": 5}, id="the payload in parts"),
    pytest.param({"payload": "body.rows"}, "payload", {"value": 5}, id="no object stands under value"),
    pytest.param({"payload": "body.region"}, "payload", {}, id="null is no payload"),
    pytest.param({}, "occurred", NOW, id="now, where the mapping gives no time"),
    pytest.param({"occurred": "body.region"}, "occurred", NOW, id="now, where the time is null"),
    pytest.param({"occurred": "body.at"}, "occurred", AT, id="ISO 8601"),
    pytest.param({"occurred": "body.at_s"}, "occurred", AT, id="seconds"),
    pytest.param({"occurred": "body.at_ns"}, "occurred", AT, id="nanoseconds"),
    pytest.param({"id": "body.uuid"}, "id", UUID(ORDER["uuid"]), id="a UUID is the id"),
    pytest.param(
        {"id": "body.id"}, "id", derive("external", "source:orders", "A-7"), id="from another text an id is derived"
    ),
    pytest.param(
        {"follows": "body.id"}, "follows", derive("external", "source:orders", "A-7"), id="so that one can follow it"
    ),
]


@pytest.mark.parametrize(("fields", "field", "value"), FOUND)
def test_a_field_is_found(fields: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(event(**fields), field) == value


REFUSED = [
    pytest.param({"event": "body.region"}, "event: its expression gives null", id="no name"),
    pytest.param({"event": "join('.', ['tocsin', body.kind])"}, "kept for tocsin", id="our names"),
    pytest.param({"event": "length(body.rows)"}, "event: expression", id="an expression that fails"),
    pytest.param({"event": "{{ 1 / 0 }}"}, "event: template", id="a template that fails"),
    pytest.param({"resource": "body.region"}, "resource: its expression gives null", id="no resource"),
    pytest.param({"resource": {"tocsin.resource.id": "body.region"}}, "missing or empty", id="no id of the resource"),
    pytest.param({"related": "body.rows"}, "not a list of objects", id="related are no list"),
    pytest.param({"occurred": "body.kind"}, "no time in ISO 8601", id="no time"),
    pytest.param({"occurred": "'2026-03-01T09:00:00'"}, "no time zone", id="a time without a zone"),
    pytest.param({"occurred": "`-5`"}, "no number of seconds", id="before 1970"),
    pytest.param({"occurred": "`1e300`"}, "no number of seconds", id="beyond all units"),
    pytest.param({"occurred": "body.vip"}, "neither", id="a boolean is no time"),
    pytest.param({"id": "body.owners"}, "id: its expression gives a list", id="a list is no id"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_a_message_that_means_no_event_is_refused_with_the_field_and_the_reason(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadEvent, match=reason):
        event(**fields)


WRONG = [
    pytest.param({"event": "orders.paid"}, "write body.orders, or 'orders' for text", id="quotes forgotten"),
    pytest.param({"event": "body.["}, "character 7", id="no JMESPath"),
    pytest.param({"event": "{{ body"}, "line 1", id="no template"),
    pytest.param({"event": "nosuch(body)"}, "there is no function", id="unknown function"),
    pytest.param({"resource": {"name": "body.id"}}, "'tocsin.resource.id' is missing", id="a resource without id"),
    pytest.param({"related": [{"tocsin.resource.id": "key"}]}, "'tocsin.resource.role' is missing", id="without role"),
    pytest.param({"payloads": "body"}, "Extra inputs", id="unknown field"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_a_mapping_that_cannot_work_is_refused_when_it_is_defined(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Mapping(**{**LEAST, **fields})


@pytest.mark.parametrize(("where", "taken"), [(None, True), ("body.vip", True), ("body.region", False)])
def test_only_messages_that_meet_where_are_taken(where: str | None, taken: bool) -> None:
    assert wanted(Mapping(**LEAST, where=where), ORDER, CONTEXT) is taken


def test_what_the_way_in_knows_stands_in_where_the_mapping_is_silent() -> None:
    own = UUID(int=7)
    found = mapped(Mapping(**LEAST), {"id": "A"}, {}, NOW, origin="x", event_id=own, occurred=AT)
    assert (found.id, found.occurred) == (own, AT)


def test_a_mapping_survives_json() -> None:
    mapping = Mapping(**LEAST, related=({"tocsin.resource.id": "key", "tocsin.resource.role": "'owner'"},))
    assert Mapping.model_validate_json(mapping.model_dump_json()) == mapping
