"""Pickles that another process reads: functions of tasks and flows by their names, what no import finds by value."""

import io
import sys
from importlib import import_module
from operator import attrgetter
from types import FunctionType
from typing import Any

import cloudpickle

# Any below: whatever a user passes.


def dumps(value: Any) -> bytes:
    """The pickle. Raises whatever the `__reduce__` of any object raises."""
    with io.BytesIO() as file:
        _Packer(file).dump(value)
        return file.getvalue()


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """A decorated function cannot be found under its name, where its task stands. So it is looked for in there.

    Modules of `cloudpickle.register_pickle_by_value` go by value, for workers that have no such file.
    """

    def reducer_override(self, value: Any) -> Any:
        """How `value` is pickled, if not as usual."""
        if isinstance(value, FunctionType) and _stands_in_its_owner(value):
            return _function, (value.__module__, value.__qualname__)
        return super().reducer_override(value)


def _stands_in_its_owner(function: FunctionType) -> bool:
    module = sys.modules.get(function.__module__)
    by_value = cloudpickle.list_registry_pickle_by_value()
    if module is None or module.__name__ == "__main__" or module.__name__.partition(".")[0] in by_value:
        return False
    try:
        owner = attrgetter(function.__qualname__)(module)
    except AttributeError:
        return False
    return owner is not function and getattr(owner, "fn", None) is function


def _function(module: str, name: str) -> Any:
    return attrgetter(name)(import_module(module)).fn
