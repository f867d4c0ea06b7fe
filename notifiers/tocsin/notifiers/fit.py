"""Fitting text into a channel's limits: counted in code points or in bytes, cut where it does no harm."""

import json
from collections.abc import Sequence

ELLIPSIS = "…"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_KEPT_CONTROLS = {"\n", "\t"}
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """`text` as every channel can carry it: no lone surrogates, no control characters but newline and tab.

    Characters that turn the direction of reading go too: they make a text read as another one.
    """
    if text.isprintable() and text.isascii():
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in whole if c in _KEPT_CONTROLS or not (_is_control(c) or c in _TURNS))


def cut(text: str, limit: int) -> str:
    """The first `limit` code points of `text`; an ellipsis takes the place of what was lost."""
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def cut_json(text: str, limit: int) -> str:
    """As much of `text` as takes at most `limit` bytes inside an ASCII JSON document (quotes not counted)."""
    if len(text) * 12 <= limit or _json_size(text) <= limit:
        return text
    budget = limit - _json_size(ELLIPSIS)
    for end, character in enumerate(text):
        budget -= _json_size(character)
        if budget < 0:
            return text[:end] + ELLIPSIS
    return text


def escape(text: str, limit: int) -> str:
    """`text` for Slack, at most `limit` code points when escaped: `& < >` become entities, never half a one.

    With those three gone nothing in the text can be a mention (`<!channel>`), a link or an entity of its own.
    """
    pieces = [_ENTITIES.get(character, character) for character in text[: limit + 1]]
    if sum(map(len, pieces)) <= limit and len(text) <= limit:
        return "".join(pieces)
    length, kept = len(ELLIPSIS), []
    for piece in pieces:
        length += len(piece)
        if length > limit:
            break
        kept.append(piece)
    return "".join(kept) + ELLIPSIS


def top(lines: Sequence[str], limit: int, *, most: int, total: int | None = None) -> str:
    """As many of `lines` as fit, one a line, and for the rest "and 873 more"; at most `limit` code points.

    `most` bounds the number of lines; `total` is how many there are in truth when `lines` is a part of them.
    """
    total = len(lines) if total is None else max(total, len(lines))
    room = limit - len(_more(total))
    shown: list[str] = []
    for line in lines[:most]:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    rest = total - len(shown)
    return "\n".join([*shown, _more(rest)] if rest else shown)


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def _more(count: int) -> str:
    return f"and {count:,} more"


def _json_size(text: str) -> int:
    return len(json.dumps(text)) - 2


def line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` code points: nothing in it can end a header or a field."""
    return cut(" ".join(clean(text[:20_000]).split()), limit)
