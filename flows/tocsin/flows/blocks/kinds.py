"""Which class makes the blocks of a type: those of this process, ours, and those that the record says where to find."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tocsin.events.errors import NotFound

OURS: Final = {
    "gcs-bucket": "tocsin.flows.blocks.gcs:GCSBucket",
    "json": "tocsin.flows.blocks.system:JSON",
    "local-file-system": "tocsin.flows.blocks.files:LocalFileSystem",
    "remote-file-system": "tocsin.flows.blocks.files:RemoteFileSystem",
    "secret": "tocsin.flows.blocks.system:Secret",
    "sqlalchemy-connector": "tocsin.flows.blocks.sql:SQLAlchemyConnector",
}
"""The types that come with tocsin, and where they are."""
SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
"""The name of a block; of a secret, too (`tocsin secret put`)."""

_known: dict[str, type[Any]] = {}  # Any: subclasses of Block, which this module does not know


def enter(slug: str, cls: type[Any]) -> None:
    """Let the class make the blocks of this type in this process; a class that is defined again takes its place."""
    _known[slug] = cls


def kind_of(slug: str, recorded: Mapping[str, str]) -> type[Any]:
    """The class of a type; `recorded`: entrypoints by type. Raises NotFound naming the way out.

    Code that the record names is imported: whoever can write the database is trusted.
    """
    where = OURS.get(slug) or recorded.get(slug)
    if slug not in _known and where is not None:
        load(where)
    if slug not in _known:
        known = ", ".join(sorted({*_known, *OURS, *recorded}))
        raise NotFound(
            f'no blocks have the type "{slug}"; import its module, or `tocsin block register` it; known: {known}'
        )
    return _known[slug]


def slug_from(name: str) -> str:
    """The type of a class without one of its own: `GrafanaToken` is `grafana-token`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def entrypoint_of(cls: type[Any]) -> str:
    """Where the class can be found again: `module:Class`, or `file.py:Class` of a script."""
    if cls.__module__ != "__main__":
        return f"{cls.__module__}:{cls.__qualname__}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    return f"{Path(file).resolve() if file else '__main__'}:{cls.__qualname__}"


def load(where: str) -> ModuleType:
    """The module of `module:Class`, `file.py:Class`, or of either without a class, imported. Raises Invalid."""
    from tocsin.flows.entrypoint import module_at  # the whole engine; only who looks for a class needs it

    place = where.rpartition(":")[0] or where
    return module_at(place, os.getcwd())
