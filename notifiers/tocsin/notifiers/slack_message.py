"""How an incident reads in Slack: blocks and text, every field inside its limit. Pure.

Limits are counted in code points, after escaping: header 150, section 3,000, field 2,000 and 10 of them, context
10 elements, 50 blocks, about 13,200 characters over all blocks (undocumented; we stay under 12,000), text 4,000
(`chat.update` refuses more).
"""

from datetime import datetime
from typing import Any

from tocsin.notifiers.fit import ELLIPSIS, clean, cut, escape, top
from tocsin.notifiers.slack_buttons import buttons
from tocsin.notifiers.slack_thread import standing, to_payload
from tocsin.notifiers.view import Message, View, message_of

HEADER = 150
SECTION = 3_000
FIELD = 200
FIELDS = 10
TEXT = 3_000
MINIMAL_TEXT = 1_000
ITEMS_SHOWN = 20
ITEM = 200
FACT = 150
EVENT_TYPE = "tocsin_delivery"

# Any: Block Kit JSON.
Block = dict[str, Any]

_MARKS = {"critical": "🔴", "error": "🔴", "warning": "🟠", "info": "🔵"}


def render_slack(view: View, *, minimal: bool, metadata: bool, pressed_by: str = "") -> Message:
    """The Slack message for `view`; `metadata` (Web API only) carries the ids by which the post is found again, and
    what its thread has been told. With `pressed_by`, the notifier's name, it has buttons while there is something to
    do about it."""
    text = headline(view)
    body: dict[str, Any] = {"text": escape(text, MINIMAL_TEXT if minimal else TEXT)}
    if not minimal:
        actions = buttons(view, pressed_by) if pressed_by else None
        body["blocks"] = [*blocks(view), *([actions] if actions else [])]
    if metadata:
        body["metadata"] = _metadata(view)
    return message_of(view, body, minimal)


def headline(view: View) -> str:
    """The incident in one line: a mark, how it stands, the subject."""
    mark = "✅" if view.over else "👀" if view.state == "acknowledged" else _MARKS[view.severity]
    return f"{mark} {_standing_word(view)}{_one_line(view.subject)}"


def blocks(view: View) -> list[Block]:
    """Header, body, what it is about (top 20), labels (top 10), and a line of facts."""
    shown: list[Block] = [{"type": "header", "text": _plain(headline(view), HEADER)}]
    if body := clean(view.body).strip():
        shown.append({"type": "section", "text": _markdown(escape(body, SECTION))})
    if view.items:
        shown.append({"type": "section", "text": _markdown(_items(view))})
    if view.labels:
        shown.append({"type": "section", "fields": _fields(view.labels)})
    shown.append({"type": "context", "elements": [_markdown(fact) for fact in _facts(view)]})
    return shown


def _standing_word(view: View) -> str:
    if view.over:
        return "Resolved: "
    if view.action == "test":
        return "Test: "
    if view.state == "acknowledged":
        return "Acknowledged: "
    if view.flapping:
        return "Flapping: "
    return "Still firing: " if view.action == "repeat" else ""


def _items(view: View) -> str:
    lines = [f"• {escape(_one_line(item), ITEM)}" for item in view.items[:ITEMS_SHOWN]]
    return top(lines, SECTION, most=ITEMS_SHOWN, total=max(view.total, len(view.items)))


def _fields(labels: dict[str, str]) -> list[Block]:
    pairs = sorted(labels.items())
    shown = pairs if len(pairs) <= FIELDS else pairs[: FIELDS - 1]
    fields = [_markdown(f"*{escape(_one_line(name), 60)}*\n{escape(_one_line(value), FIELD)}") for name, value in shown]
    rest = len(pairs) - len(shown)
    return [*fields, _markdown(f"and {rest:,} more")] if rest else fields


def _facts(view: View) -> list[str]:
    """At most nine: Slack takes ten elements."""
    facts = [f"severity *{view.severity}*", f"since {_moment(view.opened)}"]
    if view.over:
        facts.append(f"over {_moment(view.at)}")
    elif view.revision > 1:
        facts.append(f"updated {_moment(view.at)}")
    if view.acked_by:
        facts.append(f"acknowledged by {escape(_one_line(view.acked_by), FACT)}")
    if view.level and not view.over:
        facts.append(f"escalated, step {view.level:,}")
    if view.flapping and not view.over:
        facts.append("flapping")
    if view.muted:
        facts.append(f"{view.muted:,} silenced")
    if view.route:
        facts.append(f"route {escape(_one_line(view.route), FACT)}")
    return [*facts, f"incident `{str(view.incident)[-12:]}`"]


def _moment(instant: datetime) -> str:
    """`instant` in the reader's own zone; the text after `|` is for clients that cannot."""
    fallback = instant.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"<!date^{int(instant.timestamp())}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def _metadata(view: View) -> dict[str, Any]:
    ids = {"delivery": str(view.delivery), "incident": str(view.incident), "revision": view.revision}
    return {"event_type": EVENT_TYPE, "event_payload": {**ids, **to_payload(standing(view))}}


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": escape(text, limit), "emoji": True}


def _markdown(text: str) -> Block:
    return {"type": "mrkdwn", "text": text}


def _one_line(text: str) -> str:
    """`text` on one line; Slack refuses an empty field, so nothing becomes an ellipsis."""
    return " ".join(cut(clean(text), 10_000).split()) or ELLIPSIS
