"""The plainest blocks: one secret, one JSON value."""

from typing import Any, ClassVar

from pydantic import SecretStr, field_validator

from tocsin.events.errors import Invalid
from tocsin.flows.blocks.block import Block
from tocsin.flows.blocks.requests import PutSecret
from tocsin.flows.book import Book
from tocsin.flows.serializers import same_after_json


class Secret(Block):
    """A secret by name: the one of `tocsin secret put`, which notifiers refer to as well."""

    type_slug: ClassVar[str] = "secret"
    value: SecretStr

    def get(self) -> str:
        """The secret itself."""
        return self.value.get_secret_value()

    def _put(self, book: Book, name: str, document: Any, overwrite: bool) -> None:  # Any: JSON
        if not self.get():
            raise Invalid(f"secret {name!r}: it is empty")
        book.ask(PutSecret(name=name, value=self.get(), overwrite=overwrite, now=book.clock.now()))


class JSON(Block):
    """Any JSON value."""

    type_slug: ClassVar[str] = "json"
    # Any: that is the point of it.
    value: Any

    @field_validator("value")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        if not same_after_json(value):
            raise ValueError("give JSON: text, finite numbers, lists, dicts with texts as keys")
        return value
