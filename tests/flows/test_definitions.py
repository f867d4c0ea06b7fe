"""What can be a task or a flow, with which options, and what is refused with the way out."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows import Flow, flow, task
from tocsin.flows.tasks import exponential_backoff


def work(number: int = 1) -> int:
    """Give it back."""
    return number


def generates() -> Iterator[int]:
    yield 1


async def generates_async() -> AsyncIterator[int]:
    yield 1


def waits(wait_for: int) -> int:
    return wait_for


def hook(definition: object, run: object, state: object) -> None:
    """Nothing."""


# what is wrong with a task or a flow -> the words of the refusal
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an option that is misspelt": ({"retires": 3}, 'NAME "work": there is no option retires; is retries meant?'),
    "an option that there is not": ({"colour": "red"}, "there is no option colour; there are: "),
    "an empty name": ({"name": " "}, "NAME name ' ': a name is printable text and not empty"),
    "a description that is no text": ({"description": 3}, "description is text, not 3"),
    "a version that is no text": ({"version": 3}, "version is text, not 3"),
    "retries below zero": ({"retries": -1}, "retries is a whole number from 0 up, not -1"),
    "retries that are true": ({"retries": True}, "retries is a whole number from 0 up, not True"),
    "a delay that is text": (
        {"retries": 1, "retry_delay_seconds": "1"},
        "is a number, a list of numbers or a function",
    ),
    "a delay below zero": ({"retries": 1, "retry_delay_seconds": [1, -1]}, "must be zero or more"),
    "no delay at all": ({"retries": 1, "retry_delay_seconds": []}, "is an empty list"),
    "a delay function that raises": (
        {"retries": 1, "retry_delay_seconds": lambda retries: 1 / 0},
        "asked for 1 retries, raised ZeroDivisionError",
    ),
    "jitter below zero": ({"retries": 1, "retry_jitter_factor": -0.1}, "retry_jitter_factor is a number from 0 up"),
    "a condition that is no function": ({"retries": 1, "retry_condition_fn": True}, "retry_condition_fn is a function"),
    "no time": ({"timeout_seconds": 0}, "timeout_seconds must be above zero"),
    "time that is text": ({"timeout_seconds": "1"}, "timeout_seconds is a number of seconds"),
    "time that is no number": ({"timeout_seconds": float("nan")}, "timeout_seconds is a number of seconds"),
    "a hook outside of a list": ({"on_failure": hook}, "write on_failure=[hook]"),
    "a hook that is no function": ({"on_completion": ["hook"]}, "has 'hook', which is no function"),
    "a hook without parameters": ({"on_running": [work]}, "is called with (task or flow, run, state)"),
    "a tag that no event carries": ({"tags": ["\0"]}, 'NAME "work": tag name'),
    "too many tags": ({"tags": list(map(str, range(51)))}, "51 tags, at most 50"),
    "a name with a field that is no parameter": (
        {"RUN_NAME": "{day}"},
        "has {day}, which is no parameter; known: number",
    ),
    "a name with half a field": ({"RUN_NAME": "{"}, "RUN_NAME '{'"),
    "a name that is empty": ({"RUN_NAME": ""}, "RUN_NAME is empty"),
    "a name that is a number": ({"RUN_NAME": 3}, "RUN_NAME is a text such as"),
    "a name by a function of something": ({"RUN_NAME": lambda day: day}, "takes nothing, or `parameters`"),
}


@pytest.mark.parametrize(("kind", "decorate"), [("task", task), ("flow", flow)], ids=["task", "flow"])
@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_refused_with_the_way_out(
    kind: str, decorate: Any, options: dict[str, Any], message: str
) -> None:
    run_name = f"{kind}_run_name"
    with pytest.raises(Invalid) as refused:
        decorate(work, **{option.replace("RUN_NAME", run_name): value for option, value in options.items()})
    assert message.replace("NAME", kind if "RUN_" not in message else "NAME").replace("RUN_NAME", run_name) in str(
        refused.value
    )


FUNCTIONS: dict[str, tuple[Any, str]] = {
    "a generator": (generates, "is a generator"),
    "an asynchronous generator": (generates_async, "is a generator"),
    "a class": (Book, "is made of a class"),
    "a number": (3, "needs a name"),
    "a function without a name": (functools.partial(work, 1), "needs a name"),
    "a parameter that a call needs": (waits, "the name wait_for is taken"),
}


@pytest.mark.parametrize("decorate", [task, flow], ids=["task", "flow"])
@pytest.mark.parametrize(("function", "message"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_is_no_function_to_run_is_refused(decorate: Any, function: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        decorate(function)


def test_a_backoff_from_below_zero_is_refused() -> None:
    with pytest.raises(Invalid, match="first delay in seconds"):
        exponential_backoff(-1)


def test_a_definition_keeps_what_it_was_given() -> None:
    made = task(work, name="w", version="2", tags=iter("a"), retries=2, description="d", on_failure=[hook])
    again = made.with_options(retries=3)
    assert (again.name, again.version, again.tags, again.retries, again.description) == ("w", "2", ("a",), 3, "d")
    assert again.hooks.of("on_failure") == (hook,)
    assert (made.retries, made.fn(5), made.__doc__) == (2, 5, "Give it back.")


def test_a_function_without_a_name_is_given_one(quick: Book) -> None:
    assert task(functools.partial(work, 4), name="partly")() == 4
    assert quick.task_states().keys() == {quick.task_runs()[0].name}


def test_a_task_can_be_a_flow(quick: Book) -> None:
    @task(name="waits", retries=2)
    async def waits(number: int) -> int:
        return number

    assert flow(task(work, name="works"), name="f")(3) == 3
    assert asyncio.run(flow(waits, name="g")(4)) == 4
    assert flow(waits).retries == 0
    assert {run.flow_name for run in quick.flow_runs()} == {"f", "g"}
    assert [run.task_name for run in quick.task_runs()] == ["works", "waits"]


class Shop:
    """Tasks and flows among its methods."""

    def __init__(self, name: str) -> None:
        self.name = name

    @task
    def visit(self, times: int) -> str:
        return f"{self.name} {times}"

    @task
    @classmethod
    def kind(cls, times: int) -> str:
        return f"{cls.__name__} {times}"

    @classmethod
    @task
    def sort(cls, times: int) -> str:
        return f"{cls.__name__} {times}"

    @task
    @staticmethod
    def plain(times: int) -> str:
        return f"plain {times}"

    @staticmethod
    @task
    def simple(times: int) -> str:
        return f"simple {times}"

    @task
    async def wait(self, times: int) -> str:
        return f"{self.name} {times}"

    @flow(validate_parameters=False)
    def open(self, times: int) -> list[str]:
        return self.visit.map([times, times + 1]).result()


METHODS: dict[str, tuple[Callable[[Shop], Any], str]] = {
    "of an object": (lambda shop: shop.visit, "berlin"),
    "of a class, task outside": (lambda shop: shop.kind, "Shop"),
    "of a class, task inside": (lambda shop: shop.sort, "Shop"),
    "of nobody, task outside": (lambda shop: shop.plain, "plain"),
    "of nobody, task inside": (lambda shop: shop.simple, "simple"),
}


@pytest.mark.parametrize(("method", "name"), METHODS.values(), ids=METHODS)
def test_methods_are_called_submitted_and_mapped(quick: Book, method: Any, name: str) -> None:
    bound = method(Shop("berlin"))
    assert bound(1) == f"{name} 1"
    assert bound.submit(2).result() == f"{name} 2"
    assert bound.map([3, 4]).result() == [f"{name} 3", f"{name} 4"]


def test_a_method_belongs_to_its_object(quick: Book) -> None:
    berlin, lagos = Shop("berlin"), Shop("lagos")
    assert berlin.open(1) == ["berlin 1", "berlin 2"]
    assert (berlin.visit(5), lagos.visit(5)) == ("berlin 5", "lagos 5")
    assert asyncio.run(lagos.wait(2)) == "lagos 2"
    assert isinstance(Shop.open, Flow)
