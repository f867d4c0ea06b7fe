"""Results that outlive their process: what comes back, from where, and what is not read."""

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import fsspec
import pytest
from cryptography.fernet import Fernet
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows import flow, results, task
from tocsin.flows.cache_policies import INPUTS
from tocsin.flows.keeping import Keeping, keeping, rendered
from tocsin.flows.serializers import KNOWN, JsonSerializer
from tocsin.flows.storage import Folder, Storage, storage_at, without_password

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@dataclass
class Point:
    x: int
    y: int


class Reversed:
    """A serializer of a user's own."""

    name = "reversed"

    def dumps(self, value: str) -> bytes:
        return value[::-1].encode()

    def loads(self, body: bytes) -> str:
        return body.decode()[::-1]


@given(json_values)
def test_a_kept_result_comes_back_as_it_was(value: Any) -> None:
    back = results.fetch(results.keep(value))
    assert back == value
    assert repr(back) == repr(value)


CHANGED_BY_JSON = [(1, 2), {1: "a"}, float("inf"), b"x", Point(1, 2), {"a": (1,)}, "\ud800"]


@pytest.mark.parametrize("value", CHANGED_BY_JSON)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    reference = results.keep(value)
    assert reference["serializer"] == "pickle"
    assert results.fetch(reference) == value
    with pytest.raises(Invalid, match="does not come back from JSON as it is"):
        results.keep(value, keeping("task t", result_serializer="json"))


def test_long_json_goes_into_a_file_and_stays_json() -> None:
    reference = results.keep(["x" * 100_000])
    assert (reference["kind"], reference["serializer"]) == ("file", "json")
    assert results.fetch(reference) == ["x" * 100_000]
    assert results.size(reference) == 100_004


@pytest.mark.parametrize("serializer", list(KNOWN))
@pytest.mark.parametrize("storage", ["", "folder", "memory"])
def test_each_serializer_writes_to_each_storage(serializer: str, storage: str, tmp_path: Path) -> None:
    urls = {"": None, "folder": str(tmp_path / "shared"), "memory": f"memory://{uuid4()}/results"}
    how = keeping("task t", result_serializer=serializer, result_storage=urls[storage])
    value = {"rows": [1, 2, 3], "name": "ä" * 1000}
    reference = results.keep(value, how)
    assert results.fetch(reference, how) == results.fetch(reference) == value
    assert (reference["bytes"] < 1000) is serializer.startswith("compressed/")


def test_a_function_and_a_class_of_the_main_program_are_pickled_by_value() -> None:
    assert results.fetch(results.keep(lambda: 7))() == 7

    @dataclass
    class Local:
        x: int

    assert results.fetch(results.keep(Local(1))).x == 1


def test_what_cannot_be_pickled_is_refused_by_type() -> None:
    with pytest.raises(Invalid, match="type lock cannot be pickled"):
        results.keep(threading.Lock())


def test_a_serializer_of_ones_own_finds_its_results_again() -> None:
    how = keeping("task t", result_serializer=Reversed())
    reference = results.keep("abc", how)
    assert results.fetch(reference, how) == "abc"
    with pytest.raises(Unavailable, match="'reversed' is not the one of this task"):
        results.fetch(reference)


class Impostor(JsonSerializer):
    """A serializer under a name that is taken."""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"result_serializer": "yaml"}, "known: json, pickle, compressed/json, compressed/pickle"),
        ({"result_serializer": Impostor()}, "needs a name of its own"),
        ({"result_serializer": 7}, "has name, dumps and loads"),
        ({"result_storage": "  "}, "an address that fsspec knows"),
        ({"result_storage_key": "{nothing}"}, "known: flow_run, parameters, task_run"),
        ({"result_storage_key": "{parameters.__class__}"}, "known: flow_run"),
        ({"result_storage_key": "{"}, "result_storage_key"),
        ({"persist_result": False, "cached": True}, "leave one of both out"),
    ],
)
def test_bad_options_are_named_when_the_task_is_defined(options: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=f"task t.*{why}"):
        keeping("task t", **options)


# --- trust ---


def test_a_result_that_was_tampered_with_is_not_read(home: Path) -> None:
    reference = results.keep((1, 2))
    (home / "results" / reference["file"]).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(Unavailable, match="not what was written"):
        results.fetch(reference)
    (home / "results" / reference["file"]).unlink()
    with pytest.raises(Unavailable, match="TOCSIN_HOME"):
        results.fetch(reference)


@pytest.mark.parametrize(
    "change",
    [
        lambda reference: reference.pop("signature"),
        lambda reference: reference.update(signature="0" * 64),
        lambda reference: reference.update(serializer="compressed/pickle"),
    ],
    ids=["no signature", "another one", "another serializer"],
)
def test_a_pickle_in_a_shared_storage_is_read_only_when_it_is_signed(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    how = Keeping(storage=str(tmp_path / "shared"))
    reference = results.keep((1, 2), how)
    assert results.fetch(reference) == (1, 2)
    change(reference)
    with pytest.raises(Unavailable, match="not signed with a key of this machine; set TOCSIN_SECRET_KEY"):
        results.fetch(reference)


def test_keys_may_change_while_the_former_ones_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, (old, new) = Keeping(storage=str(tmp_path / "shared")), (Fernet.generate_key().decode() for _ in range(2))
    monkeypatch.setenv("TOCSIN_SECRET_KEY", old)
    reference = results.keep((1, 2), how)
    monkeypatch.setenv("TOCSIN_SECRET_KEY", f"{new},{old}")
    assert results.fetch(reference) == (1, 2)
    monkeypatch.setenv("TOCSIN_SECRET_KEY", new)
    with pytest.raises(Unavailable, match="not signed"):
        results.fetch(reference)


def test_json_in_a_shared_storage_needs_no_key(tmp_path: Path) -> None:
    how = Keeping(storage=str(tmp_path / "shared"))
    reference = results.keep([1, 2], how)
    assert "signature" not in reference
    assert results.fetch(reference) == [1, 2]


def test_a_pickle_that_names_what_is_gone_is_a_lost_result() -> None:
    reference = results.keep(Point(1, 2))
    body = pickle.dumps(Point(1, 2), protocol=5).replace(b"Point", b"Poynt")
    reference |= {"sha256": sha256(body).hexdigest()}
    storage_at("").write(reference["file"], body)
    with pytest.raises(Unavailable, match="cannot be read by pickle: AttributeError"):
        results.fetch(reference)


# --- storages ---


@pytest.fixture(params=["own", "folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return storage_at({"own": "", "folder": str(tmp_path / "s"), "memory": f"memory://{uuid4()}/r"}[request.param])


def test_a_storage_gives_back_lists_and_removes(storage: Storage) -> None:
    assert list(storage.files()) == []
    storage.write("a", b"1")
    storage.write("a", b"22")
    storage.write("b/c", b"3")
    assert (storage.read("a"), storage.read("b/c")) == (b"22", b"3")
    (found,) = storage.files()
    assert (found.name, found.size) == ("a", 2)
    assert found.age_s is not None
    assert abs(found.age_s) < 60
    for _ in range(2):
        storage.remove("a")
    with pytest.raises(Unavailable, match="a"):
        storage.read("a")


class Plain(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system of which nobody knows that its files appear whole."""

    protocol = "plain"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    moved: ClassVar[list[str]] = []

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.moved.append(path2)
        super().mv(path1, path2, **options)


def test_a_storage_without_promises_gets_a_file_under_another_name_first() -> None:
    fsspec.register_implementation("plain", Plain, clobber=True)
    reference = results.keep((1, 2), Keeping(storage="plain://results"))
    assert results.fetch(reference) == (1, 2)
    assert [path.rpartition("/")[2] for path in Plain.moved] == [reference["file"]]
    assert [file.name for file in storage_at("plain://results").files()] == [reference["file"]]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "", "a//b", "a\\b", "a\0"])
def test_no_name_leads_out_of_its_storage(storage: Storage, name: str) -> None:
    with pytest.raises(Invalid, match="without"):
        storage.write(name, b"x")


def test_a_full_disk_leaves_no_draft_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").mkdir()
    folder = Folder(tmp_path / "folder")
    with pytest.raises(Unavailable, match="cannot be written"):
        folder.write("a", b"x")
    assert [entry.name for entry in (tmp_path / "folder").iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/path", "s3://bucket/path"),
        ("sftp://ann:secret@host/path", "sftp://host/path"),
        ("/shared/results", "/shared/results"),
    ],
)
def test_a_password_is_never_in_a_row(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_an_unknown_storage_says_what_is_missing() -> None:
    with pytest.raises(Invalid, match="nowhere://x: Protocol not known"):
        results.keep((1, 2), Keeping(storage="nowhere://x"))


# --- tasks ---


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("orders/{parameters[day]}.json", "orders/2024-01-15.json"),
        ("{flow_run.name}/{task_run.name}", "etl-1/load-0"),
        ("{parameters[count]:03d}", "007"),
    ],
)
def test_a_result_has_the_name_that_its_template_gives(template: str, name: str) -> None:
    assert rendered(template, {"name": "load-0"}, {"name": "etl-1"}, {"day": "2024-01-15", "count": 7}) == name


def test_a_template_that_does_not_fit_names_itself() -> None:
    with pytest.raises(Invalid, match=r"result_storage_key '\{flow_run.name\}'.*there is no 'name'"):
        rendered("{flow_run.name}", {}, None, {})


def test_persist_result_keeps_what_nothing_else_needs(quick: Book, home: Path) -> None:
    @task(persist_result=True, result_storage_key="days/{parameters[day]}.json", result_serializer="json")
    def count(day: str) -> list[int]:
        return [1, 2]

    @task
    def plain() -> tuple[int]:
        return (1,)

    count("2024-01-15")
    plain()
    kept, bare = (run.result or {} for run in sorted(quick.task_runs(), key=lambda run: run.task_key))
    assert bare == {}
    assert kept["file"] == "days/2024-01-15.json"
    assert (home / "results/days/2024-01-15.json").read_text() == "[1, 2]"


def test_a_result_that_cannot_be_kept_is_told_in_the_log_and_harms_nothing(quick: Book) -> None:
    @task(persist_result=True, result_storage_key="../{parameters[day]}")
    def count(day: str) -> int:
        return 1

    @flow
    def counting() -> int:
        return count("x")

    assert counting() == 1
    assert any("neither resumed nor cached" in line and "without .." in line for line in quick.lines())


def test_the_setting_names_the_storage_of_all(quick: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_RESULTS_STORAGE", str(tmp_path / "everything"))

    @task(cache_policy=INPUTS)
    def pair() -> tuple[int, int]:
        return 1, 2

    assert pair() == pair() == (1, 2)
    assert len(list((tmp_path / "everything").iterdir())) == 1


def test_a_retry_takes_the_kept_result_when_memory_is_to_be_saved(quick: Book, home: Path) -> None:
    tries: list[int] = []

    @task(cache_result_in_memory=False)
    def big() -> tuple[int, ...]:
        tries.append(1)
        return (1, 2)

    @flow(retries=1)
    def twice() -> tuple[int, ...]:
        value = big()
        if len(list((home / "results").iterdir())) == 1 and tries == [1]:
            tries.append(2)
            raise ValueError("again")
        return value

    assert twice() == (1, 2)
    assert tries == [1, 2]
