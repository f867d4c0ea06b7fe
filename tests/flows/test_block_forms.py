"""What a block may be: what no longer fits its class, or cannot be stored, is told with the field and the way out."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr, ValidationError, field_validator, model_validator

from tests.flows.conftest import Book
from tests.flows.test_blocks import Everything, Server
from tocsin.events.errors import Invalid
from tocsin.flows.blocks import JSON, Block, Secret, kinds
from tocsin.flows.blocks.stored import list_blocks


@pytest.fixture(autouse=True)
def newest_again() -> Iterator[None]:
    """The class that other tests mean is the one under its name afterwards."""
    yield
    kinds.enter(Server.type_slug, Server)


def older() -> None:
    class Server(Block):
        type_slug: ClassVar[str] = "test-server"
        host: int = 1
        colour: str = "red"

    Server().save("old")


def test_what_no_longer_fits_the_class_names_the_field_and_the_way_out(quick: Book) -> None:
    older()
    with pytest.raises(Invalid) as caught:
        Server.load("old")
    said = str(caught.value)
    assert said.startswith("block test-server/old: what is stored does not fit the class: ")
    for part in (
        "field host: Input should be a valid string",
        "field password: Field required",
        "field colour: it is stored, and the class has no such field",
        "model_validator(mode='before')",
        "overwrite=True",
    ):
        assert part in said


def test_a_class_may_read_its_older_form(quick: Book) -> None:
    older()

    class Newer(Block):
        type_slug: ClassVar[str] = "test-server"
        host: str
        password: SecretStr = SecretStr("none")

        @model_validator(mode="before")
        @classmethod
        def _older(cls, given: dict[str, Any]) -> dict[str, Any]:
            return {"host": f"host-{given['host']}"} if "colour" in given else given

    assert Newer.load("old").host == "host-1"


class Odd(Block):
    any: Any = None


class Picky(Block):
    level: int

    @field_validator("level", mode="before")
    @classmethod
    def _no_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            raise ValueError("no text")
        return given


BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("a name with a slash", lambda: Odd().save("a/b"), "block name 'a/b'"),
    ("no name", lambda: Odd().save(""), "block name ''"),
    ("what JSON cannot say", lambda: Odd(any=object()).save("x"), "block odd/x, field any: a object has no form"),
    ("two keys of one text", lambda: Odd(any={1: 1, "1": 2}).save("x"), "field any: two keys of it are the same"),
    ("an empty secret", lambda: Secret(value=SecretStr("")).save("x"), "secret 'x': it is empty"),
    ("a secret too long", lambda: Secret(value=SecretStr("x" * 64_001)).save("x"), "64,001 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("save", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_stored_is_refused_before_anything_is(quick: Book, save: Callable[[], Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        save()
    with quick.store.read() as session:
        assert list_blocks(session) == []


def test_what_could_not_be_read_again_is_not_saved(quick: Book) -> None:
    made = Picky.model_construct(level="high")
    with pytest.raises(Invalid, match="picky/x: it would not be read again: field level: Value error, no text"):
        made.save("x")


def test_json_that_would_not_come_back_is_refused() -> None:
    for value in ((1, 2), {1: "x"}, float("nan"), object()):
        with pytest.raises(ValidationError, match="give JSON"):
            JSON(value=value)


def test_a_type_has_a_name_that_fits_in_an_address() -> None:
    assert [Everything.type_slug, Server.type_slug, Odd.type_slug] == ["everything", "test-server", "odd"]
    with pytest.raises(Invalid, match="lower case letters"):
        type("Bad", (Block,), {"type_slug": "Bad Slug", "__annotations__": {}, "__module__": __name__})
