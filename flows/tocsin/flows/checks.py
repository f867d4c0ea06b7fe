"""What a definition may be called and made of: each refusal names the thing and the way out."""

import inspect
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final

from tocsin.events.errors import Invalid

MOST_TAGS: Final = 50
OF_A_CALL: Final = ("wait_for", "return_state")
"""Words of a call that are not the function's."""

# Any below: options and functions of the user's, before anything is known of them.


def refuse_unknown(owner: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise Invalid for an option that there is not, naming the one that may be meant."""
    for option in options:
        if option not in known:
            from difflib import get_close_matches  # only whoever errs needs it

            near = get_close_matches(option, sorted(known), 1)
            hint = f"; is {near[0]} meant?" if near else f"; there are: {', '.join(sorted(known))}"
            raise Invalid(f"{owner}: there is no option {option}{hint}")


def check_function(owner: str, fn: Any) -> None:
    """Raise Invalid for what is no function that can be run."""
    if not callable(fn):
        raise Invalid(f"{owner} is made of a function, not of {fn!r}")
    if inspect.isclass(fn):
        raise Invalid(f"{owner} is made of a class; decorate a function, or a method of it")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise Invalid(f"{owner} is a generator, and what it yields has no place in a run; return a list of it instead")
    try:
        inspect.signature(fn)
    except ValueError as error:
        raise Invalid(f"{owner}: Python does not know the parameters of {fn!r}; wrap it in a function") from error


def refuse_own_words(owner: str, parameters: Iterable[str]) -> None:
    """Raise Invalid for a parameter whose name a call needs for itself."""
    for word in OF_A_CALL:
        if word in parameters:
            raise Invalid(f"{owner}: the name {word} is taken, a call may have {word}=…; rename the parameter")


def checked_name(kind: str, name: str) -> str:
    """The name. Raises Invalid when it is empty, not text or not printable."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise Invalid(f"{kind} name {name!r}: a name is printable text and not empty")
    return name


def checked_tags(owner: str, tags: Iterable[str]) -> tuple[str, ...]:
    """The tags in order, each once. Raises Invalid for what no event could carry."""
    found = {tags} if isinstance(tags, str) else set(tags)
    if len(found) > MOST_TAGS:
        raise Invalid(f"{owner}: {len(found)} tags, at most {MOST_TAGS}")
    return tuple(sorted(checked_name(f"{owner}: tag", tag) for tag in found))


def checked_timeout(owner: str, timeout_s: float | None) -> float | None:
    """The timeout in seconds. Raises Invalid for one that is not above zero."""
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not isfinite(timeout_s):
        raise Invalid(f"{owner}: timeout_seconds is a number of seconds, not {timeout_s!r}")
    if timeout_s <= 0:
        raise Invalid(f"{owner}: timeout_seconds must be above zero, not {timeout_s}")
    return float(timeout_s)


def checked_text(owner: str, option: str, options: Mapping[str, Any]) -> str | None:
    """The option's text, None when it is not given. Raises Invalid for anything else."""
    value = options.get(option)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{owner}: {option} is text, not {value!r}")
    return value


def checked_runner(owner: str, runner: Any) -> Any:
    """The task runner, None when there is none. Raises Invalid for a name or a class in place of an object."""
    if runner is None or (callable(getattr(runner, "take", None)) and not inspect.isclass(runner)):
        return runner
    hint = f"{runner.__name__}()" if inspect.isclass(runner) else "ConcurrentTaskRunner(max_workers=4)"
    raise Invalid(f"{owner}: task_runner is an object such as {hint}, not {runner!r}")
