"""Where and how a task's or a flow's results are kept: the options of its decorator as one value."""

import string
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tocsin.events.errors import Invalid
from tocsin.flows.serializers import Serializer, serializer_of

_KNOWN: Final = frozenset({"task_run", "flow_run", "parameters"})

# Any below: parameters and the columns of runs.


class Keeping(msgspec.Struct, frozen=True):
    """`persist`: True always, False never, None when something needs it (a cache, a run that may be resumed).

    `storage`: an fsspec URL (None: that of TOCSIN_RESULTS_STORAGE, else a folder under TOCSIN_HOME); `name`: a template
    for the file's name; `in_memory`: a retry in this process takes the value that it still has.
    """

    persist: bool | None = None
    storage: str | None = None
    serializer: Serializer | None = None
    name: str | None = None
    in_memory: bool = True

    @property
    def plain(self) -> bool:
        """Nothing but what every task does."""
        return self is KEPT_AS_NEEDED or self == KEPT_AS_NEEDED


KEPT_AS_NEEDED: Final = Keeping()


def keeping(
    owner: str,
    *,
    persist_result: bool | None = None,
    result_storage: str | None = None,
    result_serializer: str | Serializer | None = None,
    result_storage_key: str | None = None,
    cache_result_in_memory: bool = True,
    cached: bool = False,
) -> Keeping:
    """The options of a decorator, checked; `owner` names it in errors. Raises Invalid."""
    if persist_result is False and cached:
        raise Invalid(f"{owner}: persist_result=False keeps nothing that a cache could give; leave one of both out")
    if result_storage is not None and (not isinstance(result_storage, str) or not result_storage.strip()):
        raise Invalid(f"{owner}: result_storage is a path or an address that fsspec knows, not {result_storage!r}")
    if result_storage_key is not None:
        _check_template(owner, result_storage_key)
    how = serializer_of(owner, result_serializer)
    options = (persist_result, result_storage, how, result_storage_key, cache_result_in_memory)
    return KEPT_AS_NEEDED if options == (None, None, None, None, True) else Keeping(*options)


def rendered(
    template: str, task_run: Mapping[str, Any], flow_run: Mapping[str, Any] | None, parameters: Mapping[str, Any]
) -> str:
    """The name that a template gives for this run. Raises Invalid when a field of it is not there."""
    known = {"task_run": _Fields(task_run), "flow_run": _Fields(flow_run or {}), "parameters": parameters}
    try:
        return string.Formatter().vformat(template, (), known)
    except (KeyError, AttributeError, IndexError, ValueError, TypeError) as error:
        raise Invalid(f"result_storage_key {template!r}: {error!r}") from error


class _Fields:
    """The columns of a row, behind a dot."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        if name not in self._row:
            raise AttributeError(f"there is no {name!r}; known: {', '.join(sorted(self._row)) or 'nothing'}")
        return self._row[name]


def _check_template(owner: str, template: str) -> None:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except (ValueError, TypeError) as error:
        raise Invalid(f"{owner}: result_storage_key {template!r}: {error}") from error
    for field in fields:
        first = field.partition(".")[0].partition("[")[0]
        if first not in _KNOWN or "._" in field:
            raise Invalid(f"{owner}: result_storage_key has {{{field}}}; known: {', '.join(sorted(_KNOWN))}")
