"""The plainest blocks: one secret, one JSON value."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import SecretStr, field_validator

from tocsin.events.errors import Invalid
from tocsin.flows.blocks.block import Block
from tocsin.flows.blocks.requests import PutSecret
from tocsin.flows.request import Request
from tocsin.flows.serializers import same_after_json


class Secret(Block):
    """A secret by name: the one of `tocsin secret put`, which notifiers refer to as well."""

    type_slug: ClassVar[str] = "secret"
    value: SecretStr

    def get(self) -> str:
        """The secret itself."""
        return self.value.get_secret_value()

    def _putting(self, name: str, document: Any, overwrite: bool, now: datetime) -> Request:  # Any: JSON
        if not self.get():
            raise Invalid(f"secret {name!r}: it is empty")
        return PutSecret(name=name, value=self.get(), overwrite=overwrite, now=now)


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
