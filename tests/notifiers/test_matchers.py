"""Matchers: Alertmanager's syntax, what it refuses and why, and expressions that cannot be made to take long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.notifiers.matchers import LONGEST, Matcher, Op, Pack, checked, equals, matches, read_matchers

OPS: tuple[Op, ...] = ("=", "!=", "=~", "!~")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("{}", [], id="nothing in braces"),
        pytest.param(" a = b ", ['a="b"'], id="spaces"),
        pytest.param('{a="b", c!~"d.*",}', ['a="b"', 'c!~"d.*"'], id="braces and a comma at the end"),
        pytest.param("a=~b|c,d!=e", ['a=~"b|c"', 'd!="e"'], id="values without quotes"),
        pytest.param('"foo bar"=~"\\\\d+"', ['"foo bar"=~"\\\\d+"'], id="a name with a space, a backslash"),
        pytest.param('tocsin.resource.id="orders"', ['tocsin.resource.id="orders"'], id="a name with dots"),
        pytest.param('Προμηθεύς="é\\u00e9\\xc3\\xa9\\351"'.replace("\\351", ""), ['Προμηθεύς="ééé"'], id="UTF-8"),
        pytest.param('a="\\n\\t\\101\\"\\U0001f642"', ['a="\\n\tA\\"🙂"'], id="escapes"),
        pytest.param('a=""', ['a=""'], id="an empty value"),
        pytest.param("{\n a=b,\n c=d,\n}", ['a="b"', 'c="d"'], id="lines"),
    ],
)
def test_matchers_are_read_as_alertmanager_reads_them(text: str, said: list[str]) -> None:
    assert [str(matcher) for matcher in read_matchers(text)] == said


@pytest.mark.parametrize(
    ("text", "column", "way_out"),
    [
        pytest.param("a=b c=d", 5, "put a comma", id="no comma"),
        pytest.param("a", 2, "an operator: =, !=, =~ or !~", id="a name alone"),
        pytest.param("a~b", 2, "an operator is =, !=, =~ or !~", id="half an operator"),
        pytest.param("a=", 3, '"" for none', id="no value"),
        pytest.param("{a=b", 5, "close it with }", id="open brace"),
        pytest.param("a=b}", 4, "braces stand around all", id="closing brace alone"),
        pytest.param("{{a=b}}", 2, "braces stand around all", id="two braces"),
        pytest.param("{a=b},c=d", 6, "nothing", id="something behind"),
        pytest.param("a=b,,", 5, "a label's name", id="two commas"),
        pytest.param('a="b', 3, 'closing " is missing', id="open quote"),
        pytest.param(r'a=~"\d+"', 5, r"write a backslash as \\, so \\d", id="a backslash alone"),
        pytest.param('a=~"("', 5, "regular expression '(' cannot be read: missing )", id="a bad expression"),
        pytest.param('a=~"a)|(?:b"', 5, "unexpected )", id="an expression that would break out of its anchors"),
        pytest.param('a=~"(a)\\\\1"', 5, "invalid escape sequence", id="a back reference"),
        pytest.param('a=~"x\\\\C"', 5, "asks for a byte", id="half a character"),
        pytest.param('""=x', 2, "the name of a label", id="no name"),
        pytest.param('a="\\xff"', 4, "not UTF-8", id="half a character"),
        pytest.param("é=b d", 5, "put a comma", id="columns are characters"),
    ],
)
def test_a_refusal_names_the_column_and_the_way_out(text: str, column: int, way_out: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_matchers(text)
    assert f"column {column}: " in str(refused.value)
    assert way_out in str(refused.value)


def test_texts_too_long_or_too_many_are_refused() -> None:
    with pytest.raises(Invalid, match="at most 10000 are read"):
        read_matchers("a" * (LONGEST + 1))
    with pytest.raises(Invalid, match="at most 100 may stand together"):
        read_matchers(["a=b"] * 101)
    with pytest.raises(Invalid, match="half a character"):
        checked(Matcher("a", "=", "\ud800"))


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        pytest.param("", {"a": "b"}, True, id="no matchers match everything"),
        pytest.param('a="b"', {"a": "b"}, True, id="equal"),
        pytest.param('a="b"', {"a": "bb"}, False, id="not equal"),
        pytest.param('a=""', {}, True, id="a missing label is an empty one"),
        pytest.param('a!=""', {}, False, id="and so it is not not empty"),
        pytest.param('a!="b"', {}, True, id="a missing label is not b"),
        pytest.param('a=~"b"', {"a": "abc"}, False, id="anchored"),
        pytest.param('a=~"b|bc"', {"a": "bc"}, True, id="anchored around alternatives"),
        pytest.param('a=~".*"', {}, True, id="missing matches everything's pattern"),
        pytest.param('a!~"b.*"', {"a": "bc"}, False, id="not like"),
        pytest.param('a!~"b.*"', {}, True, id="missing is not like"),
        pytest.param('a=~"b"', {"a": "b\n"}, False, id="a line end is no end"),
        pytest.param('a=~"b.c"', {"a": "b\nc"}, False, id="a dot is no line end"),
        pytest.param('a="b",c="d"', {"a": "b"}, False, id="all must match"),
    ],
)
def test_matching(text: str, labels: dict[str, str], expected: bool) -> None:
    assert matches(read_matchers(text), labels) is expected


values = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.builds(Matcher, values.filter(bool), st.sampled_from(OPS[:2]), values), max_size=5))
def test_what_is_written_is_read_back(matchers: list[Matcher]) -> None:
    assert list(read_matchers(",".join(map(str, matchers)))) == matchers
    assert list(read_matchers(["{" + str(matcher) + "}" for matcher in matchers])) == matchers


@given(values.filter(bool), st.lists(values, min_size=1, max_size=4), values)
def test_any_of_several_values_is_taken_literally(name: str, several: list[str], other: str) -> None:
    matcher = equals(name, several)
    assert all(matches([matcher], {name: value}) for value in several)
    assert matches([matcher], {name: other}) is (other in several)


expressions = st.lists(st.sampled_from("abc.*+?|()[]^$"), max_size=6).map("".join)


@given(st.lists(expressions, max_size=5), st.text("abc\n", max_size=4))
def test_many_at_once_match_as_each_alone(several: list[str], text: str) -> None:
    good = [one for one in several if _is_read(one)]
    expected = [place for place, one in enumerate(good) if matches([Matcher("a", "=~", one)], {"a": text})]
    assert Pack(good).matching(text) == expected


def test_many_that_need_too_much_memory_are_matched_one_after_the_other() -> None:
    several = [f"x{place}(a|b|c){{1,200}}" for place in range(20)]
    assert Pack(several, memory=20_000).matching("x7abcabc") == [7]


def test_an_expression_that_hangs_others_does_not_hang_this_one() -> None:
    begin = time.thread_time()
    assert not matches(read_matchers('a=~"(a+)+(a|a)*b"'), {"a": "a" * 50_000})
    assert time.thread_time() - begin < 10  # a backtracking engine would not come back at all


def _is_read(expression: str) -> bool:
    try:
        checked(Matcher("a", "=~", expression))
    except Invalid:
        return False
    return True
