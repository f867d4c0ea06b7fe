"""Hashes, results, delays, parameters, portable values: the pure parts around a run."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows import results
from tocsin.flows.keys import input_hash
from tocsin.flows.parameters import Parameters
from tocsin.flows.portable import clean, portable, small
from tocsin.flows.retries import delays

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: int


DIFFERENT = [
    (1, True),
    (1, 1.0),
    (1, "1"),
    (b"a", "a"),
    ([1, 2], (1, 2)),
    ([1, 2], [2, 1]),
    (["ab"], ["a", "b"]),
    ([["a"], "b"], [["a", "b"]]),
    ({"a": 1}, {"a": 2}),
    (Colour.RED, Colour.BLUE),
    (Point(1, 2), Point(2, 1)),
    (None, "None"),
    (date(2024, 1, 1), "2024-01-01"),
    (Path("a"), "a"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_inputs_have_different_hashes(one: Any, other: Any) -> None:
    assert input_hash({"x": one}) != input_hash({"x": other})
    assert input_hash({"x": one}) == input_hash({"x": one})


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({1, 2, 3}, {3, 2, 1}), (Point(1, 2), Point(1, 2))],
    ids=["order of a mapping", "order of a set", "equal dataclasses"],
)
def test_equal_inputs_have_equal_hashes(one: Any, other: Any) -> None:
    assert input_hash({"x": one}) == input_hash({"x": other})


def test_tables_hash_by_content() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert input_hash({"df": frame}) == input_hash({"df": frame.copy()})
    assert input_hash({"df": frame}) != input_hash({"df": frame.assign(b=["x", "z"])})
    assert input_hash({"df": frame}) != input_hash({"df": frame.rename(columns={"a": "c"})})


def test_a_hash_is_the_same_in_another_process() -> None:
    program = (
        "from tocsin.flows.keys import input_hash; print(input_hash({'x': {'a', 'b', ('c', 1.5)}, 'y': {'k': None}}))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


@pytest.mark.parametrize(
    "value", [threading.Lock(), lambda: 1, (entry for entry in "ab")], ids=["lock", "lambda", "generator"]
)
def test_an_input_without_a_stable_form_is_refused_by_name(value: Any) -> None:
    with pytest.raises(Invalid, match="argument 'connection'"):
        input_hash({"connection": value})


@given(json_values)
def test_a_kept_result_comes_back_as_it_was(value: Any) -> None:
    back = results.fetch(results.keep(value))
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "value", [(1, 2), {1: "a"}, float("inf"), b"x", Point(1, 2), {"a": (1,)}, "x" * 100_000, "\ud800"]
)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    reference = results.keep(value)
    assert results.fetch(reference) == value
    assert reference["kind"] in ("pickle", "json-file")


def test_a_result_that_was_tampered_with_is_not_read(home: Path) -> None:
    reference = results.keep((1, 2))
    (home / "results" / reference["file"]).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(Unavailable, match="not what was written"):
        results.fetch(reference)
    (home / "results" / reference["file"]).unlink()
    with pytest.raises(Unavailable, match="TOCSIN_HOME"):
        results.fetch(reference)


@pytest.mark.parametrize(
    ("spec", "retries", "seconds"),
    [
        (10, 3, [10, 10, 10]),
        ([1, 5], 4, [1, 5, 5, 5]),
        ([1, 2, 3], 1, [1]),
        (lambda retries: [2**number for number in range(retries)], 3, [1, 2, 4]),
        (lambda retries: 7, 2, [7, 7]),
        (10, 0, []),
    ],
)
def test_delays(spec: Any, retries: int, seconds: list[float]) -> None:
    assert delays(spec, retries) == tuple(timedelta(seconds=second) for second in seconds)


@pytest.mark.parametrize("spec", [-1, [], [1, -1], float("nan"), float("inf")])
def test_bad_delays_are_refused(spec: Any) -> None:
    with pytest.raises(Invalid, match="retry_delay_seconds"):
        delays(spec, 2)


def sample(day: date, /, count: int = 3, *rest: int, copy: str = None, model_config: Any = 1, **more: float) -> None:  # type: ignore[assignment]  # noqa: RUF013 - as people write
    """Parameters of every kind, under names that pydantic keeps for itself."""


def test_parameters_are_coerced_and_every_kind_arrives_where_it_was() -> None:
    parameters = Parameters("flow f", sample)
    named = parameters.bind(("2024-01-15", "4", "5", 6), {"copy": "c", "extra": "1.5"})
    args, kwargs = parameters.spread(parameters.validated(named))
    assert args == (date(2024, 1, 15), 4, 5, 6)
    assert kwargs == {"copy": "c", "model_config": 1, "extra": 1.5}


@pytest.mark.parametrize("given_none", [True, False])
def test_none_is_allowed_where_it_is_the_default(given_none: bool) -> None:
    parameters = Parameters("flow f", sample)
    named = parameters.bind(("2024-01-15",), {"copy": None} if given_none else {})
    assert parameters.validated(named)["copy"] is None


def test_bad_parameters_are_named() -> None:
    parameters = Parameters('flow "f"', sample)
    with pytest.raises(Invalid, match=r"flow \"f\": parameter 'day'.*; parameter 'count'.*got 'x'"):
        parameters.validated(parameters.bind(("never", "x"), {}))
    with pytest.raises(Invalid, match="missing a required"):
        parameters.bind((), {})
    with pytest.raises(Invalid, match="no parameter 'dya'"):
        Parameters("flow f", lambda day: day).by_name({"day": 1, "dya": 2})
    with pytest.raises(Invalid, match="parameter 'day' is missing"):
        Parameters("flow f", lambda day: day).by_name({})


def test_parameters_by_name_fill_in_what_is_not_given() -> None:
    parameters = Parameters("flow f", sample)
    named = parameters.by_name({"day": "2024-01-15", "more": {"a": 1}, "b": 2})
    args, kwargs = parameters.spread(parameters.validated(named))
    assert args == (date(2024, 1, 15), 3)
    assert kwargs == {"copy": None, "model_config": 1, "a": 1.0, "b": 2.0}


@given(st.text(), st.integers(0, 50))
def test_clean_text_goes_into_any_database(text: str, longest: int) -> None:
    cleaned = clean(text + "\0\ud800", longest)
    assert "\0" not in cleaned
    assert len(cleaned) <= longest
    assert cleaned.encode().decode() == cleaned


def test_secrets_are_covered_where_they_are_shown() -> None:
    given = {"url": "postgresql://user:p4ss@host/db", "api_key": "k", "nested": {"Password": "p", "count": 3}}
    covered = small(given)
    assert covered == {
        "url": "postgresql://user:********@host/db",
        "api_key": "********",
        "nested": {"Password": "********", "count": 3},
    }


def test_portable_values_are_json_and_short_in_events() -> None:
    shown = portable({"a": (1, {2}), "n": float("nan"), "big": 2**70, "day": date(2024, 1, 1), 5: None})
    assert shown == {"a": [1, "{2}"], "n": "nan", "big": str(2**70), "day": "2024-01-01", "5": None}
    assert len(small({"long": "x" * 10_000})["long"]) == 501
