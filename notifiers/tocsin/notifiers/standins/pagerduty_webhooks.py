"""What PagerDuty posts to a v3 webhook subscription when something happens to an incident: body, signature, post."""

import hashlib
import hmac
import http.client
import json
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

TIMEOUT_S: Final = 10

# Any, in this file: JSON.
Json = dict[str, Any]
PERSON: Final = "user_reference"
INTEGRATION: Final = "events_api_v2_inbound_integration_reference"


def incident_event(
    event_type: str, *, number: int, key: str, title: str, status: str, by: str, agent: str, at: datetime
) -> Json:
    """The document of one event about an incident, as PagerDuty posts it."""
    return _document(
        event_type,
        "incident",
        at,
        {"id": f"PUSER{len(by):03}", "summary": by, "type": agent},
        {
            "id": f"PINCIDENT{number}",
            "type": "incident",
            "html_url": f"https://acme.pagerduty.example/incidents/PINCIDENT{number}",
            "number": number,
            "status": status,
            "incident_key": key,
            "title": title,
            "service": {"id": "PSERVICE", "summary": "stand-in", "type": "service_reference"},
            "resolve_reason": None,
        },
    )


def ping(at: datetime) -> Json:
    """The document of "send test event"."""
    data = {"message": "Hello from your friend Pagey!", "type": "ping"}
    return _document("pagey.ping", "pagey", at, None, data)


def signatures(body: bytes, *secrets: str) -> str:
    """The header `X-PagerDuty-Signature`: one `v1=` for each secret."""
    made = (hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join(f"v1={digest}" for digest in made)


def post(url: str, document: Json, *secrets: str) -> int:
    """Post the document, signed; the status of the answer."""
    parts, body = urlsplit(url), json.dumps(document).encode()
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "PagerDuty-Webhook/V3.0",
        "X-Webhook-Id": "PSUBSCRIPTION",
        "X-PagerDuty-Signature": signatures(body, *secrets),
    }
    try:
        connection.request("POST", parts.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _document(event_type: str, resource_type: str, at: datetime, agent: Json | None, data: Json) -> Json:
    return {
        "event": {
            "id": uuid4().hex.upper()[:26],
            "event_type": event_type,
            "resource_type": resource_type,
            "occurred_at": at.isoformat().replace("+00:00", "Z"),
            "agent": agent,
            "client": {"name": "stand-in"},
            "data": data,
        }
    }
