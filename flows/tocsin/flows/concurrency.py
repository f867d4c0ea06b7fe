"""Limits around any piece of code, in a flow, a task or a plain program.

with concurrency("db", occupy=2):
    ...                                # at most as many at once as the limit has slots, over all processes
rate_limit("api")                      # waits until the rate allows one more
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows import slots
from tocsin.flows.book import Book
from tocsin.flows.context import flow_context, task_context
from tocsin.flows.ledger import current
from tocsin.flows.limits import key_of
from tocsin.flows.slots import Held, Known
from tocsin.flows.steps import Await, Do, Steps, drive, drive_async


class concurrency:  # noqa: N801 - read like `open` and `suppress`
    """Slots of one or several limits while the block runs, all or none; `with` and `async with`.

    A plain name is that of a global limit; `tag:db` and `task:fetch` name the others. A name that no limit has is no
    limit, unless `strict`. Raises NotFound (`strict`), Invalid when more is wanted than the limit has, and TimeoutError
    when it has waited for `timeout_seconds` in vain. One block at a time: make a new one for each `with`.
    """

    def __init__(
        self,
        names: str | Sequence[str],
        occupy: int = 1,
        *,
        timeout_seconds: float | None = None,
        strict: bool = False,
    ) -> None:
        self._wants = _wants(names, occupy)
        self._timeout_s, self._strict = timeout_seconds, strict
        self._held: Held | None = None
        self._token: Any = None  # Any: of a context variable

    def __enter__(self) -> Self:
        self._begin(drive(_taken(self._wants, self._timeout_s, self._strict)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            self._end().give()

    async def __aenter__(self) -> Self:
        self._begin(await drive_async(_taken(self._wants, self._timeout_s, self._strict)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            await Do(self._end().give).suspend()

    def _begin(self, held: Held | None) -> None:
        self._held = held
        if held is not None:
            self._token = slots.holding(True)

    def _end(self) -> Held:
        assert self._held is not None
        held, self._held = self._held, None
        slots.let_go(self._token)
        return held


def rate_limit(
    names: str | Sequence[str], occupy: int = 1, *, timeout_seconds: float | None = None, strict: bool = False
) -> None:
    """Wait until the rate limits allow it. The names and errors are those of `concurrency`.

    Raises Invalid for a limit that is none of a rate: it would never be given back.
    """
    drive(_allowed(_wants(names, occupy), timeout_seconds, strict))


async def rate_limit_async(
    names: str | Sequence[str], occupy: int = 1, *, timeout_seconds: float | None = None, strict: bool = False
) -> None:
    """The same, awaited."""
    await drive_async(_allowed(_wants(names, occupy), timeout_seconds, strict))


def _wants(names: str | Sequence[str], occupy: int) -> dict[str, int]:
    if occupy < 1:
        raise Invalid(f"concurrency {names!r}: occupy is 1 or more, not {occupy}")
    listed = [names] if isinstance(names, str) else names
    return {":".join(key_of(name)): occupy for name in listed}


def _allowed(wants: dict[str, int], timeout_s: float | None, strict: bool) -> Steps:
    known = yield from _known(wants, strict)
    if held := sorted(key for key in wants if key in known and known[key].decay is None):
        raise Invalid(f"rate_limit: limit {held[0]} has no decay; `tocsin limit set {held[0]} --decay N`")
    yield from _taken(wants, timeout_s, strict)


def _taken(wants: dict[str, int], timeout_s: float | None, strict: bool) -> Steps:
    """What is held from now on, None where there is no limit."""
    known = yield from _known(wants, strict)
    flow = flow_context.get()
    there = {key: count for key, count in wants.items() if key in known}
    if not there:
        return None
    held = Held(_ledger(), there, known, flow.id if flow else None, _holder())
    try:
        answer = yield Do(lambda: held.ask(stands=timeout_s != 0))
        if not answer.taken:
            yield from _waited(held, timeout_s, answer.why)
    except BaseException:
        yield Do(held.give)
        raise
    return held


def _waited(held: Held, timeout_s: float | None, why: str) -> Steps:
    if timeout_s == 0:
        raise TimeoutError(why)
    waiter = held.waiter(timeout_s)
    yield Await([waiter.outcome])
    waiter.outcome.result()
    held.taken = True


def _known(wants: dict[str, int], strict: bool) -> Steps:
    ledger = _ledger()
    known: Known | None = slots.fresh(ledger)
    if known is None or (strict and not wants.keys() <= known.keys()):
        known = yield Do(lambda: slots.looked_up(ledger))
    assert known is not None
    if strict and (missing := sorted(wants.keys() - known.keys())):
        there = ", ".join(sorted(known)[:10]) or "none"
        raise NotFound(f"limit {missing[0]}: there is none of this name; known: {there}")
    return known


def _ledger() -> Book:
    flow = flow_context.get()
    return flow.ledger if flow is not None else current()


def _holder() -> str:
    task, flow = task_context.get(), flow_context.get()
    if task is not None:
        return f"task run {task.run['name']}"
    return f"flow run {flow.run['name']}" if flow is not None else "a program"
