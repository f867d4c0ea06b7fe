"""From `module:flow` or `path.py:flow` to the flow, and back."""

import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from tocsin.events.errors import Invalid
from tocsin.flows.flows import Flow

# Any below: a flow's parameters and result.


def load(entrypoint: str, path: str | None = None) -> Flow[..., Any]:
    """The flow at `entrypoint`; `path` is the folder from which its imports and a relative file are looked up.

    Raises Invalid with the part that does not lead anywhere. Errors of the module's own code come as they are.
    """
    place, _, name = entrypoint.rpartition(":")
    if not place or not name:
        raise Invalid(f"entrypoint {entrypoint!r}: write module:flow or path.py:flow")
    module = module_at(place, path or os.getcwd())
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Flow):
        known = ", ".join(key for key, value in vars(module).items() if isinstance(value, Flow)) or "none"
        raise Invalid(f"entrypoint {entrypoint!r}: {name} is no flow; flows there: {known}")
    return found


def module_at(place: str, folder: str) -> ModuleType:
    """The module of this name, or of a file when `place` ends in `.py`; its imports are looked up in `folder`, too.

    Raises Invalid when there is none. Errors of the module's own code come as they are.
    """
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return _from_file(place, folder) if place.endswith(".py") else _from_name(place, folder)


def of_flow(flow: Flow[..., Any]) -> tuple[str, str]:
    """The entrypoint of a flow at hand, and the folder for `path`. Raises Invalid for one that no import reaches."""
    module = sys.modules.get(flow.fn.__module__)
    file = getattr(module, "__file__", None)
    name = next((key for key, value in vars(module).items() if value is flow), None) if module else None
    if module is None or file is None or name is None:
        raise Invalid(f'flow "{flow.name}" is not a variable of a module in a file, so no worker could load it')
    if module.__name__ == "__main__" or (root := _root(module.__name__, Path(file))) is None:
        absolute = Path(file).resolve()
        return f"{absolute}:{name}", str(absolute.parent)
    return f"{module.__name__}:{name}", str(root)


def _root(name: str, file: Path) -> Path | None:
    """The folder that must be importable for `import name` to find `file`; None when names and folders differ."""
    parts = name.split(".")
    below = file.resolve().with_suffix("")
    if below.name == "__init__":
        below = below.parent
    if below.parts[-len(parts) :] != tuple(parts):
        return None
    return below.parents[len(parts) - 1]


def _from_name(name: str, folder: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise Invalid(f"module {name} was not found from {folder}; give the deployment its `path`") from error
        raise


def _from_file(place: str, folder: str) -> ModuleType:
    file = Path(folder, place).resolve()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    spec = spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise Invalid(f"entrypoint file {file} is not there")
    if (beside := str(file.parent)) not in sys.path:
        sys.path.insert(0, beside)
    module = module_from_spec(spec)
    if known is None:
        sys.modules[file.stem] = module  # pickles of its classes find it by this name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(file.stem) is module:
            del sys.modules[file.stem]
        raise
    return module
