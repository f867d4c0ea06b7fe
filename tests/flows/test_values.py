"""Hashes, results, delays, parameters, portable values: the pure parts around a run."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.flows.parameters import Parameters
from tocsin.flows.portable import clean, portable, small
from tocsin.flows.retries import delays


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
