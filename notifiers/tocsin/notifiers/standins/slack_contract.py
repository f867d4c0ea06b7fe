"""What Slack accepts in a message, as far as its documents and its users say. Counted in code points."""

import re
from typing import Any, Final

TEXT_ADVISED: Final = 4_000
TEXT_MAX: Final = 40_000
BLOCKS: Final = 50
BLOCKS_CHARACTERS: Final = 13_200
METADATA_BYTES: Final = 8_000
_LENGTHS: Final = {
    "header": 150,
    "section": 3_000,
    "field": 2_000,
    "context": 3_000,
    "markdown": 12_000,
    "button": 75,
    "option": 75,
    "placeholder": 150,
}
ELEMENTS: Final = 25
IDS: Final = 255
VALUE: Final = 2_000
OPTION_VALUE: Final = 150
SELECT_OPTIONS: Final = 100
OVERFLOW_OPTIONS: Final = 5
_ENTITY = re.compile(r"&(?!(amp|lt|gt);)")
_OWN_MARKUP = re.compile(r"<(!date\^\d+\^[^<>]*|https?://[^<>]*|mailto:[^<>]*)>")
_MENTION = re.compile(r"<(!channel|!here|!everyone|!subteam\^[^>]*|@[^>]*|#[^>]*)>")

# Any: JSON as it came.
Json = dict[str, Any]


class Breach(Exception):
    """A message that Slack would refuse, with Slack's word for it."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(f"{word}: {detail}")
        self.word = word


def check_message(body: Json, *, update: bool) -> None:
    """Raise Breach for what Slack would not take, or would show otherwise than it was meant."""
    text, blocks = body.get("text") or "", body.get("blocks") or []
    if not text and not blocks:
        raise Breach("no_text", "neither text nor blocks")
    if len(text) > (TEXT_ADVISED if update else TEXT_MAX):
        raise Breach("msg_too_long", f"text of {len(text):,} characters")
    _check_markup(text)
    if not isinstance(blocks, list) or len(blocks) > BLOCKS:
        raise Breach("invalid_blocks", f"{len(blocks)} blocks")
    characters = sum(_check_block(block) for block in blocks)
    if characters > BLOCKS_CHARACTERS:
        raise Breach("msg_blocks_too_long", f"{characters:,} characters in blocks")
    if metadata := body.get("metadata"):
        _check_metadata(metadata)


def mentions(text: str) -> list[str]:
    """The mentions in a text as Slack would act on them."""
    return _MENTION.findall(text)


def _check_block(block: Json) -> int:
    """How many characters the block holds."""
    match block.get("type"):
        case "header":
            return _check_text(block.get("text"), "header", ("plain_text",))
        case "section":
            return _check_section(block)
        case "context":
            elements = block.get("elements")
            if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
                raise Breach("invalid_blocks", "a context has 1 to 10 elements")
            return sum(_check_text(element, "context", ("plain_text", "mrkdwn")) for element in elements)
        case "actions":
            return _check_actions(block)
        case "divider":
            return 0
        case "markdown":
            return _check_text({"type": "mrkdwn", "text": block.get("text")}, "markdown", ("mrkdwn",))
        case kind:
            raise Breach("invalid_blocks", f"the stand-in knows no block of type {kind}")


def _check_section(block: Json) -> int:
    text, fields = block.get("text"), block.get("fields")
    if text is None and fields is None:
        raise Breach("invalid_blocks", "a section needs text or fields")
    if fields is not None and (not isinstance(fields, list) or not 1 <= len(fields) <= 10):
        raise Breach("invalid_blocks", "a section has 1 to 10 fields")
    length = _check_text(text, "section", ("plain_text", "mrkdwn")) if text is not None else 0
    return length + sum(_check_text(field, "field", ("plain_text", "mrkdwn")) for field in fields or [])


def _check_actions(block: Json) -> int:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= ELEMENTS:
        raise Breach("invalid_blocks", f"actions have 1 to {ELEMENTS} elements")
    _check_length("block_id", block.get("block_id", "-"), IDS)
    names = [element.get("action_id") for element in elements if "action_id" in element]
    if len(set(names)) < len(names):
        raise Breach("invalid_blocks", "an action_id stands twice in one block")
    return sum(_check_element(element) for element in elements)


def _check_element(element: Json) -> int:
    """How many characters a button or a menu shows."""
    _check_length("action_id", element.get("action_id", "-"), IDS)
    match element.get("type"):
        case "button":
            _check_length("value", element.get("value", "-"), VALUE)
            if element.get("style", "primary") not in ("primary", "danger"):
                raise Breach("invalid_blocks", "a button is primary, danger, or has no style")
            return _check_text(element.get("text"), "button", ("plain_text",))
        case "static_select":
            length = _check_text(element.get("placeholder"), "placeholder", ("plain_text",))
            return length + _check_options(element.get("options"), SELECT_OPTIONS)
        case "overflow":
            return _check_options(element.get("options"), OVERFLOW_OPTIONS)
        case kind:
            raise Breach("invalid_blocks", f"the stand-in knows no element of type {kind}")


def _check_options(options: Any, most: int) -> int:
    if not isinstance(options, list) or not 1 <= len(options) <= most:
        raise Breach("invalid_blocks", f"a menu has 1 to {most} options")
    for option in options:
        _check_length("value", option.get("value"), OPTION_VALUE)
    return sum(_check_text(option.get("text"), "option", ("plain_text",)) for option in options)


def _check_length(name: str, text: Any, most: int) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= most:
        raise Breach("invalid_blocks", f"{name} has 1 to {most:,} characters")


def _check_text(element: Any, place: str, kinds: tuple[str, ...]) -> int:
    if not isinstance(element, dict) or element.get("type") not in kinds:
        raise Breach("invalid_blocks", f"{place}: text of type {' or '.join(kinds)} is missing")
    text = element.get("text")
    if not isinstance(text, str) or not 1 <= len(text) <= _LENGTHS[place]:
        raise Breach("invalid_blocks", f"{place}: 1 to {_LENGTHS[place]:,} characters, not {len(text or '')}")
    _check_markup(text)
    return len(text)


def _check_markup(text: str) -> None:
    """`& < >` that are not ours must be entities: raw ones are mentions, links, or lost."""
    rest = _OWN_MARKUP.sub("", text)
    if mentions(rest):
        raise Breach("invalid_blocks", f"a mention that Slack would act on: {mentions(rest)[0]}")
    if "<" in rest or _ENTITY.search(rest):
        raise Breach("invalid_blocks", "an unescaped & or <")


def _check_metadata(metadata: Any) -> None:
    event_type, payload = metadata.get("event_type"), metadata.get("event_payload")
    if not isinstance(event_type, str) or not isinstance(payload, dict):
        raise Breach("invalid_metadata_format", "metadata has an event_type and an event_payload")
    if len(repr(payload).encode()) > METADATA_BYTES:
        raise Breach("metadata_too_large", "metadata over 8,000 bytes")
