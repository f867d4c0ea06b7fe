"""The arguments of actions that tell others."""

import json
from typing import Any

from tocsin.automations.actions_messages import CallWebhook, EmitEvent, Labels, SendNotification
from tocsin.automations.invocation import Arguments
from tocsin.automations.lifecycle import fired
from tocsin.automations.model import Automation, identity_context
from tocsin.automations.rendered import Impossible, Rendering
from tocsin.automations.secrets import STORED, keep
from tocsin.automations.targets import shown_name
from tocsin.events.codec import OURS, encode
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.model import CHAIN, DEPTH, RESOURCE_ID, RESOURCE_NAME
from tocsin.events.templates import render
from tocsin.triggers.steps import Firing


def send_notification(rendering: Rendering, action: SendNotification, *, resolves: bool, automatic: bool) -> Arguments:
    """What people are told of the episode. `automatic`: the end of what the action has begun."""
    automation, firing = rendering.automation, rendering.firing
    own = None if automatic else action
    subject, body = plain_words(automation, firing)
    return {
        "notifier": action.notifier,
        "route": action.route,
        "incident_key": f"{automation.name}/{firing.episode}",
        "identity": _identity(rendering),
        "action": "resolve" if resolves else "trigger",
        "subject": _said(own.subject if own else None, subject, rendering),
        "body": _said(own.body if own else None, body, rendering),
        "severity": automation.severity,
        "lasting": firing.lasting,
        "labels": _alert_labels(rendering),
    }


def _identity(rendering: Rendering) -> str:
    """What makes two episodes the same thing to people; it sees nothing that its end would not see."""
    automation, firing = rendering.automation, rendering.firing
    if automation.dedup_key is None:
        return json.dumps([automation.name, *firing.key], ensure_ascii=False)
    return render(automation.dedup_key, identity_context(automation, firing.labels))


def _alert_labels(rendering: Rendering) -> Labels:
    """By what routes, silences and inhibitions know it; a label that cannot be rendered says why."""
    automation, firing = rendering.automation, rendering.firing
    own = {name: _said(text, "", rendering).strip() for name, text in automation.labels.items()}
    known = {"alertname": automation.name, "automation": automation.name, "severity": automation.severity}
    return {**firing.labels, **_about(firing), **known, **own}


def plain_words(automation: Automation, firing: Firing) -> tuple[str, str]:
    """Subject and body for people when the automation has none of its own."""
    name = shown_name(firing)
    titled = f"{automation.name}: {name}" if name else automation.name
    lines = [_happened(firing), _message(firing), automation.description]
    return titled if firing.state == "Triggered" else f"Resolved: {titled}", "\n".join(line for line in lines if line)


def call_webhook(rendering: Rendering, action: CallWebhook) -> Arguments:
    """Where to, what, and under which secrets, sealed."""
    payload: Any = None  # Any: JSON
    if action.cloudevent is not None:
        payload = _whole_event(rendering.firing)
    elif action.payload is None:
        subject, body = plain_words(rendering.automation, rendering.firing)
        shown = {name: rendering.context[name] for name in ("firing", "event")}
        payload = {"subject": subject, "body": body, **shown}
    else:
        payload = rendering.value(action.payload)
    return {
        "url": action.url,
        "notifier": action.notifier,
        "payload": payload,
        "cloudevent": action.cloudevent,
        "headers": {name: keep(value, STORED) for name, value in action.headers.items()},
        "secret": keep(action.secret, STORED) if action.secret else None,
        "allow_private": list(action.allow_private),
    }


def emit_event(rendering: Rendering, action: EmitEvent) -> Arguments:
    """The event; it happened when the automation fired. Raises Impossible for a name of tocsin's own."""
    name = rendering.name(action.event, "event")
    if name.startswith(OURS):
        raise Impossible(f"event {name[:80]}: names that begin with {OURS} are tocsin's own")
    payload = rendering.value(action.payload)
    if not isinstance(payload, dict):
        raise Impossible(f"the payload is rendered to {type(payload).__name__}; it must be an object")
    return {
        "event": name,
        "occurred": rendering.firing.at.isoformat(),
        "resource": _resource(rendering, action.resource),
        "related": [_texts(labels, rendering) for labels in action.related],
        "payload": payload,
    }


def _resource(rendering: Rendering, given: Labels | None) -> Labels:
    if given is not None:
        return _texts(given, rendering)
    event, name = rendering.firing.about, rendering.automation.name
    if event is None:
        return {RESOURCE_ID: f"tocsin.automation.{name}", RESOURCE_NAME: name}
    return {label: event.resource[label] for label in (RESOURCE_ID, RESOURCE_NAME) if label in event.resource}


def _texts(labels: Labels, rendering: Rendering) -> Labels:
    """The labels rendered; the chain is for tocsin to tell."""
    return {name: rendering.text(text) for name, text in labels.items() if name not in (DEPTH, CHAIN)}


def _whole_event(firing: Firing) -> str:
    """The JSON of the event that made it fire; of a deadline, of the one that tells of the firing."""
    try:
        return encode(firing.event or fired(firing)).decode()
    except BadEvent as error:
        raise Impossible(str(error)) from error


def _about(firing: Firing) -> Labels:
    event = firing.about
    return {} if event is None else {RESOURCE_ID: event.resource_id, "tocsin.event": event.event}


def _happened(firing: Firing) -> str:
    event = firing.event
    if event is not None:
        return f"{event.event} at {event.occurred.isoformat(timespec='seconds')}"
    awaited = f"what was expected had not come by {firing.at.isoformat(timespec='seconds')}"
    last = firing.witness
    return f"{awaited}; last seen: {last.event} at {last.occurred.isoformat(timespec='seconds')}" if last else awaited


def _message(firing: Firing) -> str:
    return firing.about.resource.get("tocsin.state-message", "") if firing.about is not None else ""


def _said(source: str | None, otherwise: str, rendering: Rendering) -> str:
    """The rendered text. People are told even when it cannot be rendered."""
    if source is None:
        return otherwise
    try:
        return rendering.text(source)
    except Invalid as error:
        return f"{otherwise}\n({error})"
