"""Label patterns: a table of rules, and agreement with a plain reading of them."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events import labels

ROWS = [
    pytest.param({}, {"a": "x"}, True, id="an empty specification is met by all"),
    pytest.param({"a": "x"}, {"a": "x", "b": "y"}, True, id="exact"),
    pytest.param({"a": "x"}, {"a": "xy"}, False, id="exact is the whole value"),
    pytest.param({"a": "x*"}, {"a": "xyz"}, True, id="prefix"),
    pytest.param({"a": "x*"}, {"a": "x"}, True, id="a star may be nothing in a value"),
    pytest.param({"a": "*z"}, {"a": "xyz"}, True, id="suffix"),
    pytest.param({"a": "x*z*"}, {"a": "xyzzy"}, True, id="stars in the middle"),
    pytest.param({"a": "*"}, {"a": ""}, True, id="a star alone is any value"),
    pytest.param({"a": "x.z"}, {"a": "xyz"}, False, id="a dot is a dot"),
    pytest.param({"a": "x?z"}, {"a": "xyz"}, True, id="a question mark is one character"),
    pytest.param({"a": "x?"}, {"a": "x"}, False, id="a question mark is not none"),
    pytest.param({"a": "x[yz]*"}, {"a": "xzz"}, True, id="one of a class"),
    pytest.param({"a": "x[!yz]"}, {"a": "xz"}, False, id="one that is not of a class"),
    pytest.param({"a": "![xy]"}, {"a": "z"}, True, id="a class negated as a whole"),
    pytest.param({"a": "x[y"}, {"a": "x[y"}, True, id="a bracket that is not closed is a bracket"),
    pytest.param({"a": ["q", "x?"]}, {"a": "xy"}, True, id="a glob in a list of texts"),
    pytest.param({"a": "!x"}, {"a": "y"}, True, id="negation"),
    pytest.param({"a": "!x*"}, {"a": "xyz"}, False, id="negated prefix"),
    pytest.param({"a": "!x"}, {}, False, id="an absent label fails even a negation"),
    pytest.param({"a": "*"}, {}, False, id="an absent label fails a star"),
    pytest.param({"a": ["x", "y"]}, {"a": "y"}, True, id="a list is any of"),
    pytest.param({"a": ["x", "y"]}, {"a": "z"}, False, id="none of the list"),
    pytest.param({"a": ["!x", "!y"]}, {"a": "x"}, True, id="negations in a list are any of, too"),
    pytest.param({"a": []}, {"a": "x"}, False, id="an empty list is met by nothing"),
    pytest.param({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, False, id="all labels must match"),
]


@pytest.mark.parametrize(("specification", "resource", "expected"), ROWS)
def test_a_resource_matches(
    specification: dict[str, labels.Patterns], resource: dict[str, str], expected: bool
) -> None:
    assert labels.matches(specification, resource) is expected
    assert labels.labels_test(specification)(resource) is expected


def test_one_single_resource_has_to_meet_the_whole_specification() -> None:
    halves = [{"a": "x"}, {"b": "y"}]
    assert not labels.matches_some({"a": "x", "b": "y"}, halves)
    assert labels.matches_some({"a": "x"}, halves)
    assert labels.matches_some({}, [])


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("tocsin.flow-run.Failed", "tocsin.flow-run.Failed", True),
        ("tocsin.flow-run.*", "tocsin.flow-run.Failed", True),
        ("tocsin.flow-run.*", "tocsin.flow-run.", False),
        ("*.Failed", "tocsin.flow-run.Failed", True),
        ("*", "x", True),
        ("tocsin.*.Failed", "tocsin.a.b.Failed", True),
        ("tocsin.?", "tocsin.x", False),
        ("tocsin.[x]", "tocsin.x", False),
    ],
)
def test_an_event_name_matches(pattern: str, name: str, expected: bool) -> None:
    assert labels.name_matches(pattern, name) is expected


few = st.text("ab*", max_size=8)


@given(st.text("ab*?[!]-", max_size=8), st.text("ab![]-?", max_size=12))
def test_globs_agree_with_the_shells(pattern: str, value: str) -> None:
    if not pattern.startswith("!"):
        assert labels.value_matches(pattern, value) is fnmatchcase(value, pattern)


globs = st.text("ab*?[!]", max_size=6)


@given(st.lists(globs, max_size=3) | globs, st.text("ab!", max_size=8))
def test_a_prepared_test_agrees_with_the_pattern(patterns: labels.Patterns, value: str) -> None:
    assert labels.value_test(patterns)(value) is labels.value_matches(patterns, value)


@given(few, st.text("ab", max_size=12))
def test_names_agree_with_globs_whose_star_is_never_empty(pattern: str, name: str) -> None:
    assert labels.name_matches(pattern, name) is fnmatchcase(name, pattern.replace("*", "?*"))
    assert labels.name_test(pattern)(name) is labels.name_matches(pattern, name)


def test_a_pattern_of_many_stars_is_quick_on_a_long_value() -> None:
    assert not labels.value_matches("*a" * 30 + "b", "a" * 5_000)
