"""Blocks: configuration and secrets by name, as typed values that flows load. Subclass `Block` for your own."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.flows.blocks.block import Block
    from tocsin.flows.blocks.files import LocalFileSystem, RemoteFileSystem
    from tocsin.flows.blocks.gcs import GCSBucket, GcsBucket
    from tocsin.flows.blocks.sql import ConnectionComponents, SQLAlchemyConnector, SqlAlchemyConnector
    from tocsin.flows.blocks.system import JSON, Secret

__all__ = [
    "JSON",
    "Block",
    "ConnectionComponents",
    "GCSBucket",
    "GcsBucket",
    "LocalFileSystem",
    "RemoteFileSystem",
    "SQLAlchemyConnector",
    "Secret",
    "SqlAlchemyConnector",
]

__getattr__ = exports(
    __name__,
    {
        "JSON": "system",
        "Block": "block",
        "ConnectionComponents": "sql",
        "GCSBucket": "gcs",
        "GcsBucket": "gcs",
        "LocalFileSystem": "files",
        "RemoteFileSystem": "files",
        "SQLAlchemyConnector": "sql",
        "Secret": "system",
        "SqlAlchemyConnector": "sql",
    },
)
