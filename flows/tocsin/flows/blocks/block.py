"""`Block`: what users subclass. A pydantic model that is stored by type and name, its secret fields sealed."""

import asyncio
import inspect
import json
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, PrivateAttr, ValidationError

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows.blocks import kinds
from tocsin.flows.blocks.documents import BLOCK, INLINE, Part, document_of, value_of, without_fields
from tocsin.flows.blocks.known import learn_secrets, open_document, sealed_document
from tocsin.flows.blocks.requests import FindKinds, Kind, OpenBlock, PutBlock, RemoveBlock
from tocsin.flows.blocks.schemas import schema_of
from tocsin.flows.book import Book
from tocsin.flows.context import flow_context
from tocsin.flows.ledger import current
from tocsin.flows.request import Request
from tocsin.store.redact import redact

# Any below: the values of users' fields, and JSON.


class Block(Part):
    """Typed fields under a name. A field of type `SecretStr` is sealed where it is stored, masked where it is shown.

    A field may be a block itself. One that was loaded or saved is stored as a reference as long as it is unchanged,
    any other is stored inside. `type_slug` names the type; default: the class's name in kebab case.
    """

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, validate_assignment=True, populate_by_name=True
    )

    type_slug: ClassVar[str] = ""
    _stored: tuple[str, Any] | None = PrivateAttr(default=None)
    """The name under which it is on record, and the document that is there."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "type_slug" not in cls.__dict__:
            cls.type_slug = kinds.slug_from(cls.__name__)
        if not kinds.SLUG.fullmatch(cls.type_slug):
            raise Invalid(
                f"{cls.__name__}: type_slug {cls.type_slug!r} is made of lower case letters, digits and dashes"
            )
        kinds.enter(cls.type_slug, cls)

    def save(self, name: str, overwrite: bool = False) -> None:
        """Store it under `name`; when this returns, it is stored whole.

        Raises Conflict for a name that is taken (`overwrite` takes its place), Invalid for a name, or a field, that
        cannot be stored.
        """
        book = _book()
        book.ask(self.putting(name, overwrite, book.clock.now()))
        self._stored = (name, self._fields_at(name))

    def putting(self, name: str, overwrite: bool, now: datetime) -> Request:
        """What stores it when it is carried out. Raises Invalid for a name, or a field, that cannot be stored."""
        if not kinds.NAME.fullmatch(name):
            raise Invalid(f"block name {name!r}: letters, digits, blanks, dots, dashes and underscores, at most 100")
        return self._putting(name, without_fields(self._proven(name)), overwrite, now)

    def _putting(self, name: str, document: Any, overwrite: bool, now: datetime) -> Request:
        text, written = json.dumps(document), uuid7()
        return PutBlock(kind=self.kind(), name=name, document=text, overwrite=overwrite, written=written, now=now)

    @classmethod
    def load(cls, name: str) -> Self:
        """The block of this name; of `Block` itself: `Block.load("type/name")`.

        Raises NotFound naming the known ones, and Invalid naming the field when what is stored does not fit the class.
        """
        if cls is Block:
            slug, _, rest = name.partition("/")
            found: Self = _kind(slug).load(rest)
            return found
        return cls._from(name, json.loads(_book().ask(OpenBlock(slug=cls.type_slug, name=name))))

    @classmethod
    def delete(cls, name: str) -> None:
        """Forget the block of this name. Raises NotFound, and Invalid while another block refers to it."""
        _book().ask(RemoveBlock(slug=cls.type_slug, name=name))

    async def asave(self, name: str, overwrite: bool = False) -> None:
        """`save` for coroutines."""
        await asyncio.to_thread(self.save, name, overwrite)

    @classmethod
    async def aload(cls, name: str) -> Self:
        """`load` for coroutines."""
        return await asyncio.to_thread(cls.load, name)

    @classmethod
    async def adelete(cls, name: str) -> None:
        """`delete` for coroutines."""
        await asyncio.to_thread(cls.delete, name)

    @classmethod
    def kind(cls) -> Kind:
        """Its class, for show."""
        said = inspect.getdoc(cls) if cls.__doc__ else ""
        return Kind(cls.type_slug, kinds.entrypoint_of(cls), (said or "").partition("\n")[0], schema_of(cls))

    def as_part(self, where: str) -> Any:
        """Its form inside another one's document: a reference when it is on record just so, else its fields."""
        fields = self._fields_at(where)
        if self._stored is not None and self._stored[1] == fields:
            return {BLOCK: [self.type_slug, self._stored[0]], "fields": fields}
        return {INLINE: self.type_slug, "fields": fields}

    def __eq__(self, other: object) -> bool:
        """Whether the other one is of the same class with equal fields, wherever both are stored."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # its fields may change

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with its secrets sealed: no result on a disk, nothing sent to another process, shows them."""
        name = self._stored[0] if self._stored else None
        return _revived, (type(self), name, sealed_document(self._fields_at(self.type_slug)))

    def _proven(self, name: str) -> Any:
        """What is to be stored, and can be read again."""
        document = self._fields_at(f"block {self.type_slug}/{name}")
        learn_secrets(document)
        self._built(name, document, "it would not be read again")
        return document

    def _fields_at(self, where: str) -> dict[str, Any]:
        return {name: document_of(getattr(self, name), f"{where}, field {name}") for name in type(self).model_fields}

    @classmethod
    def _from(cls, name: str | None, document: dict[str, Any]) -> Self:
        """The block of an open document; `name`: under which it is stored so."""
        learn_secrets(document)
        made = cls._built(name, document, "what is stored does not fit the class")
        made._stored = (name, document) if name is not None else None
        return made

    @classmethod
    def _built(cls, name: str | None, document: dict[str, Any], wrong: str) -> Self:
        try:
            return cls.model_validate(value_of(document, _made))
        except ValidationError as error:
            said = "; ".join(_flaw(flaw["type"], flaw["loc"], flaw["msg"]) for flaw in error.errors()[:5])
        raise Invalid(
            f"block {cls.type_slug}/{name or '(inside another)'}: {wrong}: {said}. Give a new field a default, read an "
            "older form in a model_validator(mode='before'), or save it anew with overwrite=True"
        )


def _flaw(kind: str, place: tuple[int | str, ...], message: str) -> str:
    field = ".".join(map(str, place)) or "(the whole)"
    if kind == "extra_forbidden":
        return f"field {field}: it is stored, and the class has no such field"
    return f"field {field}: {redact(message)}"


def _made(slug: str, name: str | None, document: dict[str, Any]) -> Block:
    made: Block = _kind(slug)._from(name, document)
    return made


def _kind(slug: str) -> type[Any]:
    try:
        return kinds.kind_of(slug, {})
    except NotFound:
        return kinds.kind_of(slug, _book().ask(FindKinds()))


def _revived(cls: type[Block], name: str | None, document: dict[str, Any]) -> Block:
    return cls._from(name, open_document(document))


def _book() -> Book:
    flow = flow_context.get()
    return flow.ledger if flow else current()
