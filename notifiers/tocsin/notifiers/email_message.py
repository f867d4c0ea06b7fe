"""How an incident reads as a mail: subject, text and HTML, every part bounded and escaped. Pure.

One thread an incident: every mail refers to the same id, made from the incident's, and from the second on to the first
mail too. Its subject stays that of the first, because mail programs part a thread where the subject changes.
"""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from html import escape
from typing import Any, Final

from tocsin.notifiers.fit import ELLIPSIS, clean, cut, line, top
from tocsin.notifiers.view import Message, View, message_of

SUBJECT: Final = 200
BODY: Final = 60_000
LABELS: Final = 100
ITEMS: Final = 100
LINE: Final = 1_000

_STATES: Final = {
    "trigger": "",
    "update": "Update: ",
    "repeat": "Still open: ",
    "acknowledge": "Acknowledged: ",
    "resolve": "Resolved: ",
    "test": "Test: ",
}
_COLOURS: Final = {"critical": "#b3261e", "error": "#d4582a", "warning": "#c99700", "info": "#3367d6"}
_OVER: Final = "#2e7d32"
# The same in every mail: a rule that files our mail, and a vacation notice that keeps quiet, go by these.
_ALWAYS: Final = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


def render_email(view: View, *, domain: str, minimal: bool) -> Message:
    """The parts of the mail for `view`: `message_id`, `thread`, `subject`, `date`, `text`, `html`, `headers`.

    `domain` is the sender's; ids are made with it. Minimal: plain text alone, and little of it.
    """
    body: dict[str, Any] = {  # Any: JSON
        "message_id": f"<{view.delivery}@{domain}>",
        "thread": f"<incident.{view.incident}@{domain}>",
        "subject": cut(_headline(view), SUBJECT),
        "date": view.at.isoformat(),
        "text": _headline(view) if minimal else _text(view),
        "html": "" if minimal else _html(view),
        "headers": {
            **_ALWAYS,
            "X-Tocsin-Incident": str(view.incident),
            "X-Tocsin-Severity": view.severity,
            "X-Tocsin-State": "resolved" if view.over else view.state,
        },
    }
    return message_of(view, body, minimal)


def compose(
    body: dict[str, Any],  # Any: what `render_email` made
    *,
    sender: tuple[str, str],
    recipients: tuple[str, ...],
    first: dict[str, str],
) -> bytes:
    """The mail as it goes over the wire: ASCII, CRLF, no line over 998 characters.

    `sender` is a name and an address. `first` says of the incident's first mail `message_id` and `subject`; {} when
    this is it.
    """
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    mail["From"] = Address(line(sender[0], SUBJECT), addr_spec=sender[1])
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = f"Re: {first['subject']}" if first else body["subject"]
    mail["Date"] = datetime.fromisoformat(body["date"])
    mail["Message-ID"] = body["message_id"]
    mail["In-Reply-To"] = first["message_id"] if first else body["thread"]
    mail["References"] = " ".join([body["thread"], *([first["message_id"]] if first else [])])
    for name, value in body["headers"].items():
        mail[name] = value
    mail.set_content(body["text"] + "\n", cte="quoted-printable")
    if body["html"]:
        mail.add_alternative(body["html"] + "\n", subtype="html", cte="quoted-printable")
        # The boundary is made of the id: a retry is the same mail, byte for byte.
        mail.set_boundary(f"=_{body['message_id'][1:37]}")
    return mail.as_bytes()


def _headline(view: View) -> str:
    return line(f"{_STATES[view.action]}[{view.severity}] {view.subject}", LINE)


def _text(view: View) -> str:
    parts = [_headline(view), _standing(view), cut(clean(view.body), BODY).replace("\r", "")]
    parts += [top(_items(view), BODY, most=ITEMS, total=view.total)] if view.items else []
    parts += ["\n".join(f"{name}: {value}" for name, value in _labels(view))]
    return "\n\n".join(part for part in parts if part)


def _html(view: View) -> str:
    colour = _OVER if view.over else _COLOURS[view.severity]
    items = top(_items(view), BODY, most=ITEMS, total=view.total) if view.items else ""
    rows = "".join(
        f"<tr><th align=left>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in _labels(view)
    )
    body = cut(clean(view.body), BODY).replace("\r", "")
    return (
        '<!DOCTYPE html><html><body style="font-family:sans-serif">'
        f'<h3 style="border-left:6px solid {colour};padding-left:8px">{_safe(_headline(view))}</h3>'
        f"<p>{_safe(_standing(view))}</p>"
        f'<pre style="white-space:pre-wrap">{_safe(body)}</pre>'
        + (f'<pre style="white-space:pre-wrap">{_safe(items)}</pre>' if items else "")
        + (f'<table cellpadding=4 style="font-size:smaller">{rows}</table>' if rows else "")
        + "</body></html>"
    )


def _standing(view: View) -> str:
    """Since when, and how it stands."""
    said = [f"since {view.opened:%Y-%m-%d %H:%M:%S} UTC, revision {view.revision}"]
    said += [f"acknowledged by {line(view.acked_by, SUBJECT)}"] if view.acked_by else []
    said += ["flapping"] if view.flapping else []
    said += [f"{view.muted:,} of it silenced"] if view.muted else []
    said += [f"escalated {view.level} times"] if view.level else []
    return "; ".join(said)


def _items(view: View) -> list[str]:
    return [line(item, LINE) for item in view.items[:ITEMS]]


def _labels(view: View) -> list[tuple[str, str]]:
    shown = [(line(name, LINE), line(value, LINE)) for name, value in sorted(view.labels.items())[:LABELS]]
    rest = len(view.labels) - len(shown)
    return [*shown, (ELLIPSIS, f"and {rest:,} more")] if rest else shown


def _safe(text: str) -> str:
    return escape(text, quote=True)
