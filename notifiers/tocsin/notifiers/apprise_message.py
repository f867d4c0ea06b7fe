"""How an incident reads on a service behind Apprise: a title, a text, and how bad it is. Pure."""

from typing import Final

from tocsin.notifiers.fit import clean, cut, line, top
from tocsin.notifiers.view import Message, View, message_of

TITLE: Final = 250
BODY: Final = 4_000
ITEMS: Final = 20
LABELS: Final = 10
LINE: Final = 300

_PREFIXES: Final = {
    "resolve": "Resolved: ",
    "acknowledge": "Acknowledged: ",
    "repeat": "Still open: ",
    "test": "Test: ",
}
_TYPES: Final = {"critical": "failure", "error": "failure", "warning": "warning", "info": "info"}


def render_apprise(view: View, *, minimal: bool) -> Message:
    """`{"title", "body", "type"}` of plain text; the service's own, smaller limits are kept on the way out."""
    title = line(_PREFIXES.get(view.action, "") + view.subject, TITLE)
    body = {
        "title": title,
        "body": title if minimal else _text(view) or title,
        "type": "success" if view.over else _TYPES[view.severity],
    }
    return message_of(view, body, minimal)


def fitted(title: str, body: str, title_limit: int, body_limit: int) -> tuple[str, str]:
    """Title and body inside a service's limits in characters; one without titles has them in one text."""
    if title_limit > 0:
        return cut(title, title_limit), cut(body, body_limit)
    room = max(body_limit - len(title) - 2, 0)  # Apprise puts a line break between the two
    return cut(title, body_limit), cut(body, room) if room > 1 else ""


def _text(view: View) -> str:
    items = [line(item, LINE) for item in view.items[:ITEMS]]
    labels = sorted(view.labels.items())[:LABELS]
    parts = [
        cut(clean(view.body), BODY // 2),
        top(items, BODY // 4, most=ITEMS, total=view.total) if items else "",
        top([f"{line(name, 100)}: {line(value, LINE)}" for name, value in labels], BODY // 5, most=LABELS),
    ]
    return "\n\n".join(part for part in parts if part)
