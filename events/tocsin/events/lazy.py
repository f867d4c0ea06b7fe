"""Names of a room that are imported when they are first asked for, so that a room's tables load nothing else of it."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def exports(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:  # Any: whatever the name stands for
    """A `__getattr__` for the package `room`: `homes` says in which of its modules each public name lives."""

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(import_module(f"{room}.{homes[name]}"), name)
        setattr(sys.modules[room], name, value)
        return value

    return look_up
