"""Places for files: the same calls on a folder, on memory, and on a bucket behind gcsfs; no path leads out of them."""

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from pydantic import Secret as Sealed
from pydantic import SecretStr, ValidationError

from tests.flows.conftest import Book
from tests.flows.gcs_stand_in import Bucket, storage
from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows.blocks import GCSBucket, GcsBucket, LocalFileSystem, RemoteFileSystem

Place = LocalFileSystem | RemoteFileSystem | GCSBucket
KEY = '{"type": "service_account", "private_key": "planted-private-key"}'


@pytest.fixture(scope="module")
def gcs() -> Iterator[tuple[str, Bucket]]:
    with storage() as running:
        yield running


def local(folder: Path, gcs: str) -> Place:
    return LocalFileSystem(basepath=str(folder / "place"))


def memory(folder: Path, gcs: str) -> Place:
    fsspec.filesystem("memory").store.clear()
    return RemoteFileSystem(basepath="memory://reports/daily")


def bucket(folder: Path, gcs: str) -> Place:
    return GCSBucket(bucket="reports", bucket_folder="daily", endpoint_url=gcs)


@pytest.fixture(params=[local, memory, bucket])
def place(request: pytest.FixtureRequest, tmp_path: Path, gcs: tuple[str, Bucket]) -> Place:
    gcs[1].objects.clear()
    make: Callable[[Path, str], Place] = request.param
    return make(tmp_path, gcs[0])


def test_a_file_is_written_read_listed_and_removed(place: Place) -> None:
    assert place.list() == []
    full = place.write_path("a/b.bin", b"\0\xff" * 10)
    assert full == f"{place.root()}/a/b.bin"
    place.write_path("c.txt", b"")
    assert (place.read_path("a/b.bin"), place.read_path("/c.txt")) == (b"\0\xff" * 10, b"")
    assert (place.list(), place.list("a"), place.list("none")) == (["a/b.bin", "c.txt"], ["a/b.bin"], [])
    assert [place.exists(path) for path in ("a/b.bin", "a/none")] == [True, False]
    place.write_path("a/b.bin", b"again")
    assert place.read_path("a/b.bin") == b"again"
    place.remove("a/b.bin")
    assert place.list() == ["c.txt"]
    with pytest.raises(FileNotFoundError):
        place.read_path("a/b.bin")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_files_are_uploaded_and_downloaded(place: Place, tmp_path: Path) -> None:
    large = bytes(range(256)) * 100
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "large.bin").write_bytes(large)
    (tmp_path / "in" / "deep" / "x.txt").write_bytes(b"x")
    place.upload_from_path(tmp_path / "in" / "large.bin")
    assert place.download_to_path("large.bin", tmp_path / "out" / "l.bin").read_bytes() == large
    assert place.upload_from_folder(tmp_path / "in", "all") == 2
    assert place.download_folder_to_path("all", tmp_path / "back") == 2
    assert (tmp_path / "back" / "deep" / "x.txt").read_bytes() == b"x"
    place.upload_from_file_object(io.BytesIO(b"stream"), "stream.txt")
    assert asyncio.run(place.aread_path("stream.txt")) == b"stream"
    asyncio.run(place.awrite_path("async.txt", b"a"))
    assert place.list() == ["all/deep/x.txt", "all/large.bin", "async.txt", "large.bin", "stream.txt"]
    with pytest.raises(FileNotFoundError):
        place.download_to_path("none", tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..", "a\\..\\..\\x", "nul\0"])
def test_no_path_leads_out(place: Place, path: str) -> None:
    for act in (place.read_path, place.list, place.remove, place.exists, lambda p: place.write_path(p, b"x")):
        with pytest.raises(Invalid, match="leads out of"):
            act(path)
    with pytest.raises(Invalid, match="names no file"):
        place.read_path("")


def test_a_place_is_saved_and_loaded(quick: Book, place: Place) -> None:
    place.write_path("x", b"1")
    place.save("place")
    assert type(place).load("place").read_path("x") == b"1"


def test_a_key_of_a_service_account_is_sealed_and_goes_to_gcsfs(quick: Book) -> None:
    made = GCSBucket(bucket="reports", service_account_info=SecretStr(KEY))
    made.save("reports")
    again = GcsBucket.load("reports")
    assert again._token() == {"type": "service_account", "private_key": "planted-private-key"}
    assert "planted" not in repr(again)


WRONG: list[tuple[str, Callable[[], object], str]] = [
    ("two ways in", lambda: GCSBucket(bucket="abc", anonymous=True, service_account_file="x"), "give one of"),
    ("a key that is none", lambda: GCSBucket(bucket="abc", service_account_info=SecretStr("planted")), "JSON text"),
    ("a bucket that is none", lambda: GCSBucket(bucket="a/b"), "bucket"),
    ("no scheme", lambda: RemoteFileSystem(basepath="reports/daily"), "scheme://place"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_leads_nowhere_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        make()
    assert "planted" not in str(caught.value)


def test_an_unknown_scheme_says_what_is_missing() -> None:
    place = RemoteFileSystem(basepath="nowhere://x/y", settings=Sealed({"key": "x"}))
    with pytest.raises(Unavailable, match="no file system for nowhere://"):
        place.read_path("x")
