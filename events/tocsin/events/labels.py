"""Label patterns: which resources a rule means, in Prefect's words.

A pattern is a glob: `*` stands for any run of characters, `?` for one, `[ab]` and `[a-b]` for one of these, `[!ab]`
for one that is none of these; a leading `!` negates the whole. A list means "any of these". A label that is absent
matches nothing, not even a negation.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from functools import lru_cache

Patterns = str | list[str]

_SIGN = re.compile(r"[*?\[]")


def matches(specification: Mapping[str, Patterns], labels: Mapping[str, str]) -> bool:
    """Whether `labels` meet every pattern of `specification`; an empty one is met by all."""
    return all(
        (value := labels.get(label)) is not None and value_matches(patterns, value)
        for label, patterns in specification.items()
    )


def matches_some(specification: Mapping[str, Patterns], resources: Iterable[Mapping[str, str]]) -> bool:
    """Whether one single resource meets the whole `specification`; an empty one asks for nothing."""
    return not specification or any(matches(specification, labels) for labels in resources)


def value_matches(patterns: Patterns, value: str) -> bool:
    """Whether `value` meets the pattern, or any of a list."""
    if isinstance(patterns, str):
        return _one_matches(patterns, value)
    return any(_one_matches(pattern, value) for pattern in patterns)


def exact_or_prefix(pattern: str) -> bool:
    """Whether a label pattern is one exact text, or a prefix with its `*`."""
    sign = _SIGN.search(pattern)
    return not pattern.startswith("!") and (sign is None or _ends(pattern, sign.start()))


def name_matches(pattern: str, name: str) -> bool:
    """Whether an event name meets a pattern: exact, or with `*` for one character or more."""
    if "*" not in pattern:
        return pattern == name
    return _name_expression(pattern).fullmatch(name) is not None


def value_test(patterns: Patterns) -> Callable[[str], bool]:
    """`value_matches` for these patterns, prepared once."""
    if isinstance(patterns, str):
        return _pattern_test(patterns)
    if not any(pattern.startswith("!") or _SIGN.search(pattern) for pattern in patterns):
        return frozenset(patterns).__contains__
    tests = tuple(map(_pattern_test, patterns))
    return lambda value: any(test(value) for test in tests)


def name_test(pattern: str) -> Callable[[str], bool]:
    """`name_matches` for this pattern, prepared once."""
    if "*" not in pattern:
        return lambda name: name == pattern
    if pattern.index("*") == len(pattern) - 1:
        prefix = pattern[:-1]
        return lambda name: name.startswith(prefix) and len(name) > len(prefix)
    expression = _name_expression(pattern)
    return lambda name: expression.fullmatch(name) is not None


def labels_test(specification: Mapping[str, Patterns]) -> Callable[[Mapping[str, str]], bool]:
    """`matches` for this specification, prepared once."""
    tests = tuple((label, value_test(patterns)) for label, patterns in specification.items())

    def test(labels: Mapping[str, str]) -> bool:
        for label, fits in tests:
            value = labels.get(label)
            if value is None or not fits(value):
                return False
        return True

    return test


def _pattern_test(pattern: str) -> Callable[[str], bool]:
    if pattern.startswith("!"):
        refused = _glob_test(pattern[1:])
        return lambda value: not refused(value)
    return _glob_test(pattern)


def _glob_test(pattern: str) -> Callable[[str], bool]:
    sign = _SIGN.search(pattern)
    if sign is None:
        return lambda value: value == pattern
    if _ends(pattern, sign.start()):
        prefix = pattern[:-1]
        return lambda value: value.startswith(prefix)
    expression = _value_expression(pattern)
    return lambda value: expression.match(value) is not None


def _ends(pattern: str, first: int) -> bool:
    """Whether the first sign of a pattern is a `*` at its end."""
    return first == len(pattern) - 1 and pattern[first] == "*"


def _one_matches(pattern: str, value: str) -> bool:
    if pattern.startswith("!"):
        return not _glob_matches(pattern[1:], value)
    return _glob_matches(pattern, value)


def _glob_matches(pattern: str, value: str) -> bool:
    sign = _SIGN.search(pattern)
    if sign is None:
        return pattern == value
    if _ends(pattern, sign.start()):
        return value.startswith(pattern[:-1])
    return _value_expression(pattern).match(value) is not None


@lru_cache(maxsize=4096)
def _value_expression(pattern: str) -> re.Pattern[str]:
    """The shell's reading of a glob: each star takes the first place that fits, in linear steps for each."""
    return re.compile(translate(pattern))


@lru_cache(maxsize=4096)
def _name_expression(pattern: str) -> re.Pattern[str]:
    """`a*b*c` as a regular expression without nested choices: each part is sought once, from the left.

    An atomic group keeps the first place where a part was found, so matching takes linear steps for each star
    whatever the text.
    """
    first, *middle = pattern.split("*")
    *middle, last = middle
    sought = "".join(f"(?>.+?{re.escape(part)})" for part in middle)
    return re.compile(f"{re.escape(first)}{sought}.+?{re.escape(last)}", re.DOTALL)
