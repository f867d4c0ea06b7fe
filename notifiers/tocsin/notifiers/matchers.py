"""Matchers on labels, as Alertmanager writes them: `team="db", severity=~"critical|error"`.

The door to RE2, whose regular expressions take time linear in the text, whoever wrote them. A matcher's expression is
anchored on both ends, and a label that is missing is one that is empty.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, assert_never, cast

import msgspec
import re2

from tocsin.events.errors import Invalid

Op = Literal["=", "!=", "=~", "!~"]

MOST: Final = 100
"""How many matchers may stand together."""

LONGEST: Final = 10_000
"""Characters of a text of matchers."""

MEMORY: Final = 64 * 1024 * 1024
"""Bytes that one pack of expressions may take."""

_SPACES: Final = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_RESERVED: Final = _SPACES + r"{}!=~,\\\"'`"
_TOKEN: Final = re.compile(
    rf"[{_SPACES}]*(?:(?P<brace>[{{}}])|(?P<comma>,)|(?P<op>=~|!=|!~|=)"
    rf'|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<word>[^{_RESERVED}]+)|(?P<end>\Z)|(?P<wrong>.))',
    re.DOTALL,
)
_PLAIN: Final = re.compile(rf"[^{_RESERVED}]+")
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<one>[abfnrtv\\\"])|x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.))",
    re.DOTALL,
)
_ONE_BYTE: Final = re.compile(r"(?:[^\\]|\\[^C])*\\C", re.DOTALL)
"""What RE2 takes in C++ and not in Go, so not in Alertmanager: half a character."""

_ONE: Final = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


class Matcher(msgspec.Struct, frozen=True):
    """What one label must be like; its text is `name="value"`, as Alertmanager prints it."""

    name: str
    op: Op
    value: str

    def __str__(self) -> str:
        name = self.name if _PLAIN.fullmatch(self.name) else _quoted(self.name)
        return f"{name}{self.op}{_quoted(self.value)}"

    @property
    def takes_missing(self) -> bool:
        """Whether an alert without this label matches."""
        return matches_value(self, "")


def matches_value(matcher: Matcher, value: str) -> bool:
    """Whether a label of this value matches."""
    match matcher.op:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return _regex_matches(matcher.value, value)
        case "!~":
            return not _regex_matches(matcher.value, value)
        case _:
            assert_never(matcher.op)


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all of them match; none at all match everything."""
    return all(matches_value(matcher, labels.get(matcher.name, "")) for matcher in matchers)


def read_matchers(source: str | Sequence[str]) -> tuple[Matcher, ...]:
    """The matchers of a text, or of several texts together.

    Alertmanager's syntax with UTF-8 names: `a="b"`, `{a=b, c!~"d.*"}`. Raises `Invalid` with the text, the column and
    the way out.
    """
    texts = (source,) if isinstance(source, str) else source
    found = tuple(matcher for text in texts for matcher in _read(text))
    if len(found) > MOST:
        raise Invalid(f"{len(found)} matchers; at most {MOST} may stand together")
    return found


def equals(name: str, value: str | Sequence[str]) -> Matcher:
    """The matcher for `name` being `value`, or any of several. Raises `Invalid`."""
    if isinstance(value, str):
        return checked(Matcher(name, "=", value))
    return checked(Matcher(name, "=~", "|".join(map(re2.escape, value))))


def checked(matcher: Matcher) -> Matcher:
    """The matcher itself. Raises `Invalid` for one without a name, or with an expression that RE2 does not take."""
    if not matcher.name:
        raise Invalid("a matcher needs the name of a label")
    _encoded(matcher.name)
    _encoded(matcher.value)
    if matcher.op in ("=~", "!~"):
        if _ONE_BYTE.match(matcher.value):
            raise Invalid(rf"the regular expression {matcher.value[:200]!r} asks for a byte; write . and not \C")
        _compiled(matcher.value)
    return matcher


class Pack:
    """Many expressions at once: which of them match a text costs about as much as one of them would.

    It falls back on one after the other when there are too many for the memory that RE2 may take.
    """

    def __init__(self, expressions: Sequence[str], memory: int = MEMORY) -> None:
        self._expressions = tuple(expressions)
        self._set = _set_of(self._expressions, memory)

    def matching(self, text: str) -> list[int]:
        """The places of the expressions that match the whole of `text`, ascending."""
        found = sorted(self._set.Match(_bytes(text)) or ()) if self._set else []
        if found and found[-1] == len(self._expressions):  # the one that is always true: RE2 came to the end
            return found[:-1]
        return [place for place, one in enumerate(self._expressions) if _regex_matches(one, text)]


def _read(text: str) -> list[Matcher]:
    """One text: names, operators and values, in braces or not, a comma at the end or not."""
    if len(text) > LONGEST:
        raise Invalid(f"matchers of {len(text)} characters; at most {LONGEST} are read")
    tokens = _tokens(text)
    braced = tokens[0].string == "{"
    place = int(braced)
    found: list[Matcher] = []
    while tokens[place].kind not in ("brace", "end"):
        found.append(_matcher(text, tokens[place : place + 3]))
        place += 3
        if tokens[place].kind == "comma":
            place += 1
        elif tokens[place].kind not in ("brace", "end"):
            raise _refused(text, tokens[place], "put a comma between two matchers, and values in double quotes")
    _closed(text, tokens[place:], braced)
    return found


def _closed(text: str, tokens: Sequence["_Token"], braced: bool) -> None:
    match [token.string for token in tokens]:
        case [""] if not braced:
            return
        case ["}", ""] if braced:
            return
        case [""]:
            raise _refused(text, tokens[0], "a { is open; close it with }")
        case ["}", _, *_] if braced:
            raise _refused(text, tokens[1], "after the closing } comes nothing")
        case _:
            raise _refused(text, tokens[0], "braces stand around all matchers, once, or not at all")


class _Token(msgspec.Struct, frozen=True):
    kind: str
    string: str
    column: int


def _tokens(text: str) -> list[_Token]:
    """The tokens of a text; the last one is its end. Quotes are taken off, and what they escape is read."""
    found: list[_Token] = []
    place = 0
    while not found or found[-1].kind != "end":
        token = _TOKEN.match(text, place)
        assert token is not None
        kind = str(token.lastgroup)
        begin, place = token.start(kind), token.end()
        if kind == "wrong":
            raise _refused(text, _Token(kind, token[kind], begin + 1), _way_out(token[kind]))
        string = _unescaped(text, token[kind], begin) if kind == "quoted" else token[kind]
        found.append(_Token(kind, string, begin + 1))
    return found


def _way_out(character: str) -> str:
    match character:
        case '"':
            return 'the closing " is missing'
        case "!" | "~":
            return "an operator is =, !=, =~ or !~"
        case _:
            return "put names and values with such characters in double quotes"


def _matcher(text: str, tokens: Sequence[_Token]) -> Matcher:
    wanted = (("word", "quoted"), ("op",), ("word", "quoted"))
    missing = (
        'a label\'s name, as in name="value"',
        "an operator: =, !=, =~ or !~",
        'a value in double quotes ("" for none)',
    )
    for token, kinds, what in zip(tokens, wanted, missing, strict=False):
        if token.kind not in kinds:
            raise _refused(text, token, f"here should be {what}")
    name, op, value = tokens
    try:
        return checked(Matcher(name.string, cast(Op, op.string), value.string))
    except Invalid as error:
        raise _refused(text, value if name.string else name, str(error)) from error


def _unescaped(text: str, quoted: str, begin: int) -> str:
    r"""What a quoted string says, by the rules of Go's: `\"`, `\\`, `\n`, `\x41`, `\u00e9`."""
    if "\n" in quoted:
        at = begin + quoted.index("\n")
        raise _refused(text, _Token("quoted", "", at + 1), r"a line ends within quotes; write \n")
    parts: list[bytes] = []
    place = 0
    for escape in _ESCAPE.finditer(quoted):
        parts.append(_bytes(quoted[place : escape.start()]))
        if escape["wrong"]:
            token = _Token("quoted", escape[0], begin + escape.start() + 1)
            raise _refused(text, token, rf"{escape[0]} is no escape; write a backslash as \\, so \{escape[0]}")
        parts.append(_escaped(escape))
        place = escape.end()
    parts.append(_bytes(quoted[place:]))
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError as error:
        raise _refused(text, _Token("quoted", quoted, begin + 1), "these escapes are not UTF-8") from error


def _escaped(escape: re.Match[str]) -> bytes:
    if one := escape["one"]:
        return _ONE[one].encode()
    if code := escape["short"] or escape["long"]:
        number = int(code, 16)
        return chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else b"\xff"
    return bytes([int(escape["hex"], 16) if escape["hex"] else int(escape["octal"], 8)])


def _refused(text: str, token: _Token, why: str) -> Invalid:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return Invalid(f"matchers {shown!r}, column {token.column}: {why}")


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'"{plain}"'


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> "re2._Regexp":
    try:
        return re2.compile(_bytes(expression), _options())
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise Invalid(f"the regular expression {expression[:200]!r} cannot be read: {reason}") from error


@lru_cache(maxsize=8192)
def _regex_matches(expression: str, text: str) -> bool:
    return _compiled(expression).fullmatch(_bytes(text)) is not None


def _set_of(expressions: Sequence[str], memory: int) -> re2.Set | None:
    """All of them, and one that is always true: without it an answer is one of RE2 having run out of memory."""
    options = _options()
    options.max_mem = memory
    together = re2.Set.FullMatchSet(options)
    try:
        for expression in (*expressions, "(?s:.*)"):
            together.Add(_bytes(expression))
        together.Compile()
    except re2.error:
        return None
    return together


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"{text[:80]!r} holds half a character; write it anew") from error
