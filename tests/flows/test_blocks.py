"""Blocks: typed fields under a name; secrets sealed at rest, masked wherever they are shown, out of what runs log."""

import asyncio
import json
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest
from cryptography.fernet import Fernet
from pydantic import BaseModel, Field, SecretBytes, SecretStr, ValidationError
from pydantic import Secret as Sealed
from sqlalchemy import text

from tests.flows.conftest import Book
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import flow, get_run_logger, results, task
from tocsin.flows.blocks import JSON, Block, Secret
from tocsin.flows.blocks.requests import OpenBlock, PutBlock, PutSecret
from tocsin.flows.blocks.stored import list_blocks, list_types, remove_block, show_block
from tocsin.flows.keys import input_hash
from tocsin.store.engine import Store
from tocsin.store.resealing import reseal_all

PLANTED = "planted-secret-0123456789"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Part(BaseModel):
    token: SecretStr
    at: datetime


class Everything(Block):
    """One field of each kind."""

    text: str = "ä \0 \ud800 $secret"
    number: float = 1.5
    big: int = 2**80
    at: datetime = NOW
    wait: timedelta = timedelta(seconds=1.5)
    money: Decimal = Decimal("1.10")
    colour: Colour = Colour.RED
    where: Path = Path("a/b")
    who: UUID = UUID(int=7)
    raw: bytes = b"\xff\0"
    pair: tuple[int, str] = (1, "x")
    some: set[int] = Field(default_factory=lambda: {3, 1, 2})
    by_number: dict[int, str] = Field(default_factory=lambda: {1: "x"})
    odd: dict[str, Any] = Field(default_factory=lambda: {"$secret": "no secret", "$$block": [1], "nan": None})
    token: SecretStr = SecretStr(PLANTED)
    maybe: SecretStr | None = None
    binary: SecretBytes = SecretBytes(b"\xffplanted-bytes")
    settings: Sealed[dict[str, Any]] = Sealed({"password": "planted-in-settings", "n": [1, 2]})
    tokens: list[SecretStr] = Field(default_factory=lambda: [SecretStr("planted-in-a-list")])
    part: Part = Field(default_factory=lambda: Part(token=SecretStr("planted-in-a-part"), at=NOW))


SEEN = (PLANTED, "planted-bytes", "planted-in-settings", "planted-in-a-list", "planted-in-a-part")


class Server(Block):
    """An address and what opens it."""

    type_slug: ClassVar[str] = "test-server"
    host: str
    password: SecretStr


class Pair(Block):
    first: Server
    second: Block | None = None
    many: list[Secret] = Field(default_factory=list)


def raw(store: Store) -> str:
    """Everything that stands in the tables of blocks and secrets."""
    with store.read() as session:
        tables = [session.execute(text(f"SELECT * FROM {table}")) for table in ("block", "block_type", "secret")]
        return "\n".join(str(tuple(row)) for rows in tables for row in rows)


def test_a_block_comes_back_as_it_was_saved(book: Book) -> None:
    made = Everything()
    made.save("all")
    again = Everything.load("all")
    assert again == made
    assert {name: type(value) for name, value in again} == {name: type(value) for name, value in made}
    assert [planted for planted in SEEN if planted in raw(book.store)] == []
    assert raw(book.store).count("gAAAA") == 5


def test_coroutines_have_their_own(book: Book) -> None:
    async def there_and_back() -> tuple[Block, str]:
        await Server(host="a", password=SecretStr(PLANTED)).asave("main")
        found = await Server.aload("main")
        await Server.adelete("main")
        with pytest.raises(NotFound):
            await Server.aload("main")
        return found, found.password.get_secret_value()

    found, opened = asyncio.run(there_and_back())
    assert (found, opened) == (Server(host="a", password=SecretStr(PLANTED)), PLANTED)


def test_a_name_is_taken_until_overwrite_is_said(book: Book) -> None:
    Server(host="a", password=SecretStr("x")).save("main")
    with pytest.raises(Conflict, match="test-server/main already; save it with overwrite=True"):
        Server(host="b", password=SecretStr("x")).save("main")
    assert Server.load("main").host == "a"
    Server(host="b", password=SecretStr("x")).save("main", overwrite=True)
    assert Server.load("main").host == "b"
    with pytest.raises(NotFound, match=r"no block test-server/mian; known: main; save one"):
        Server.load("mian")


def test_a_request_that_is_repeated_changes_nothing_and_shows_nothing(book: Book) -> None:
    document = json.dumps({"host": "a", "password": {"$secret": PLANTED}})
    put = PutBlock(kind=Server.kind(), name="x", document=document, overwrite=False, written=uuid7(), now=NOW)
    secret = PutSecret(name="x", value=PLANTED, overwrite=False, now=NOW)
    for _ in range(2):
        book.ledger.ask(put)
        book.ledger.ask(secret)
    assert PLANTED not in repr(put) + repr(secret)
    with book.store.read() as session:
        assert [(one.type, one.name) for one in list_blocks(session)] == [("secret", "x"), ("test-server", "x")]


def test_a_request_survives_a_trip_through_json() -> None:
    put = Everything().putting("all", overwrite=False, now=NOW)
    assert msgspec.json.decode(msgspec.json.encode(put), type=PutBlock) == put


# --- a secret by name ---


def test_a_secret_is_one_of_the_secrets_that_notifiers_refer_to(book: Book) -> None:
    from tocsin.notifiers import Secret as Vaulted
    from tocsin.notifiers import Slack, get_notifier, put_notifier, put_secret

    Secret(value=SecretStr("xoxb-planted-0123456789")).save("slack-token")
    with book.store.begin() as session:
        put_secret(session, Vaulted(name="by hand", value=SecretStr(PLANTED)))
        put_notifier(session, Slack(name="slack", token=Vaulted.ref("slack-token"), channel="C1"))
    assert Secret.load("by hand").get() == PLANTED
    with pytest.raises(Conflict):
        Secret(value=SecretStr("xoxb-other-0123456789")).save("slack-token")
    Secret(value=SecretStr("xoxb-other-0123456789")).save("slack-token", overwrite=True)
    with book.store.read() as session:
        found = get_notifier(session, "slack")
        assert isinstance(found, Slack)
        assert found.token.get_secret_value() == "xoxb-other-0123456789"
    with pytest.raises(Invalid, match='slack-token" is referred to by slack'):
        Secret.delete("slack-token")
    Secret.delete("by hand")
    with pytest.raises(NotFound, match='unknown secret "by hand"; put it with `tocsin secret put`; known: slack-token'):
        Secret.load("by hand")


def test_a_secret_that_a_block_refers_to_stays(book: Book) -> None:
    from tocsin.notifiers.vault import list_secrets

    key = Secret(value=SecretStr(PLANTED))
    key.save("key")
    Pair(first=Server(host="a", password=SecretStr("x")), many=[key]).save("pair")
    with book.store.read() as session:
        assert [one.used_by for one in list_secrets(session)] == [("block pair/pair",)]
    with pytest.raises(Invalid, match="referred to by block pair/pair"):
        Secret.delete("key")
    Secret(value=SecretStr("another-0123456789")).save("key", overwrite=True)
    assert Pair.load("pair").many[0].get() == "another-0123456789"
    Pair.delete("pair")
    Secret.delete("key")


# --- a block inside a block ---


def test_a_block_on_record_is_stored_as_a_reference_another_one_inside(book: Book) -> None:
    kept = Server(host="kept", password=SecretStr("first-password"))
    kept.save("kept")
    Pair(first=kept, second=JSON(value={"a": [1]})).save("pair")
    Server(host="moved", password=SecretStr("second-password")).save("kept", overwrite=True)
    found = Pair.load("pair")
    assert (found.first.host, found.second) == ("moved", JSON(value={"a": [1]}))
    with pytest.raises(Invalid, match="test-server/kept is referred to by pair/pair"):
        Server.delete("kept")
    found.first.host = "changed here"
    found.save("pair", overwrite=True)
    assert (Pair.load("pair").first.host, Server.load("kept").host) == ("changed here", "moved")
    Server.delete("kept")


def test_blocks_that_would_contain_themselves_are_refused(book: Book) -> None:
    class Ring(Block):
        inner: "Ring | None" = None

    Ring.model_rebuild(_types_namespace={"Ring": Ring})
    one = Ring()
    one.save("one")
    two = Ring(inner=one)
    two.save("two")
    with pytest.raises(Invalid, match="ring/one → ring/two → ring/one: it contains itself"):
        Ring(inner=two).save("one", overwrite=True)
    assert Ring.load("one").inner is None


def test_a_reference_to_nothing_is_not_stored(book: Book) -> None:
    gone = Server(host="a", password=SecretStr("x"))
    gone.save("gone")
    Server.delete("gone")
    with pytest.raises(NotFound, match="no block test-server/gone"):
        Pair(first=gone).save("pair")


def test_a_block_of_any_type_is_loaded_by_type_and_name(book: Book) -> None:
    JSON(value=[1]).save("list")
    assert Block.load("json/list") == JSON(value=[1])
    with pytest.raises(NotFound, match=r'no blocks have the type "jsn"; .* known: .*json'):
        Block.load("jsn/list")


# --- nowhere to be seen ---


def test_no_secret_of_a_block_is_seen(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    Everything().save("all")
    Secret(value=SecretStr("planted-by-name-012345")).save("named")

    @task(log_prints=True)
    def connect() -> Everything:
        block = Everything.load("all")
        get_run_logger().warning("token %s, all %s", block.token.get_secret_value(), block)
        print(Secret.load("named").get())
        return block

    @flow(log_prints=True)
    def sync() -> None:
        block = connect()
        settings = block.settings.get_secret_value()["password"]
        raise RuntimeError(f"{block.tokens[0].get_secret_value()} {settings} {block.part.token.get_secret_value()}")

    with pytest.raises(RuntimeError):
        sync()
    with book.store.read() as session:
        shown = [show_block(session, "everything", "all"), *list_blocks(session), *list_types(session)]
    block = Everything.load("all")
    rows = book.flow_runs() + book.task_runs()
    written = "\n".join(map(str, [shown, rows, book.events(), book.lines(), block, repr(block), raw(book.store)]))
    plain = block.model_copy(update={"text": "", "raw": b"", "binary": SecretBytes(b"planted-bytes")})
    written += plain.model_dump_json() + str(pickle.dumps(block))
    assert "token (redacted)" in written
    assert [planted for planted in (*SEEN, "planted-by-name-012345") if planted in written] == []


def test_a_result_that_holds_a_block_is_kept_sealed(quick: Book) -> None:
    block = Everything()
    block.save("all")
    kept = results.keep([Everything.load("all"), Secret(value=SecretStr(PLANTED))])
    files = [file.read_bytes() for file in Path(results_folder()).rglob("*") if file.is_file()]
    assert not any(PLANTED.encode() in body for body in [*files, json.dumps(kept).encode()])
    found, secret = results.fetch(kept)
    assert (found, secret.get()) == (block, PLANTED)


def results_folder() -> str:
    from tocsin.store.home import home

    return str(home())


def test_equal_blocks_have_one_hash_as_inputs() -> None:
    def hashed(secret: str) -> str:
        return input_hash({"server": Server(host="a", password=SecretStr(secret))})

    assert hashed("one") == hashed("one") != hashed("two")


def test_a_validation_error_shows_no_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Server(host=PLANTED, password=[PLANTED])  # type: ignore[arg-type]
    assert PLANTED not in str(caught.value)


def test_another_key_reaches_blocks(quick: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    made = Everything()
    made.save("all")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", f"{new},{old}")
    resealed = {f"{batch.table}.{batch.column}": batch.resealed for batch in reseal_all(quick.store)}
    assert resealed == {"block.document": 5}
    monkeypatch.setenv("TOCSIN_SECRET_KEY", new)
    assert Everything.load("all") == made
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    with pytest.raises(Invalid, match="cannot be read with this key"):
        Everything.load("all")


def test_removing_is_by_type_and_name(book: Book) -> None:
    JSON(value=1).save("x")
    Secret(value=SecretStr("abcdef")).save("x")
    with book.store.begin() as session:
        remove_block(session, "json", "x")
        with pytest.raises(NotFound, match="there is none of type json"):
            remove_block(session, "json", "x")
        remove_block(session, "secret", "x")
    with pytest.raises(NotFound):
        book.ledger.ask(OpenBlock(slug="secret", name="x"))
