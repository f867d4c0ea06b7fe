"""Where results lie: a folder of this machine, or whatever fsspec reaches (`memory://`, `s3://`, `gs://` ...).

A file is there whole or not at all: a folder gets it by a rename, an object store in one request, and others under
another name first.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from tocsin.events.errors import Invalid, Unavailable
from tocsin.store.home import home

SETTING: Final = "TOCSIN_RESULTS_STORAGE"
_WHOLE: Final = frozenset({"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"})
"""Protocols whose files appear when they are complete."""


class Stored(NamedTuple):
    """A file of a storage. `age_s`: seconds since it was written last, None where nobody says."""

    name: str
    size: int
    age_s: float | None


class Storage(Protocol):
    """Files by name; a name may have slashes."""

    def write(self, name: str, body: bytes) -> None:
        """Put it there whole, in the place of what was there. Raises Unavailable."""
        ...

    def read(self, name: str) -> bytes:
        """What is there. Raises Unavailable."""
        ...

    def files(self) -> Iterator[Stored]:
        """Those that lie in it directly."""
        ...

    def remove(self, name: str) -> None:
        """Take it away; one that is gone already is no error."""
        ...


def configured() -> str:
    """Where results go unless a task says otherwise: an fsspec URL, or nothing for our own folder."""
    return os.environ.get(SETTING, "")


def storage_at(url: str) -> Storage:
    """The storage at an fsspec URL or path; without one our own folder. Raises Invalid."""
    if not url:
        return Folder(home() / "results", mode=0o700)
    protocol, _, path = url.partition("://")
    if not path or protocol in ("file", "local"):
        return Folder(Path(path or url).expanduser())
    return Remote(url)


def without_password(url: str) -> str:
    """The URL as it may be kept and shown: who reads it later has his own way in."""
    protocol, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url


class Folder:
    """A folder of this machine, or one that it has mounted."""

    def __init__(self, path: Path, mode: int = 0o777) -> None:
        self.path, self._mode = path, mode

    def write(self, name: str, body: bytes) -> None:
        """On the disk when it returns."""
        target = self._place(name)
        draft = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns():x}")
        try:
            target.parent.mkdir(mode=self._mode, parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
            _sync(target.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise Unavailable(f"result {target} cannot be written: {error.strerror}") from error

    def read(self, name: str) -> bytes:
        """What is there."""
        file = self._place(name)
        try:
            return file.read_bytes()
        except OSError as error:
            why = f"result {file}: {error.strerror}; was it kept under another TOCSIN_HOME, or on another machine?"
            raise Unavailable(why) from error

    def files(self) -> Iterator[Stored]:
        """Drafts that a killed process has left are among them."""
        if not self.path.is_dir():
            return
        now = time.time()
        with os.scandir(self.path) as entries:
            for entry in entries:
                with suppress(OSError):  # another one took it away
                    if entry.is_file():
                        found = entry.stat()
                        yield Stored(entry.name, found.st_size, now - found.st_mtime)

    def remove(self, name: str) -> None:
        """Take it away."""
        self._place(name).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        return self.path.joinpath(*_steps(name))


class Remote:
    """What fsspec reaches."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = url.partition("://")[0]
        # Any: fsspec is imported when the first result goes there, and has no types.
        self._files: Any
        self._files, self._root = _opened(url)

    def write(self, name: str, body: bytes) -> None:
        """Put it there whole."""
        target = self._place(name)
        try:
            if self._protocol in _WHOLE:
                self._files.pipe_file(target, body)
                return
            draft = f"{target}.{os.getpid()}.{time.monotonic_ns():x}"
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(draft, body)
            self._files.mv(draft, target)
        except Exception as error:  # every file system of fsspec has errors of its own
            raise Unavailable(f"result {self._shown(name)} cannot be written: {error}") from error

    def read(self, name: str) -> bytes:
        """What is there."""
        try:
            body: bytes = self._files.cat_file(self._place(name))
        except Exception as error:  # as above
            raise Unavailable(f"result {self._shown(name)} cannot be read: {error or type(error).__name__}") from error
        return body

    def files(self) -> Iterator[Stored]:
        """Those that lie in it directly."""
        try:
            listed = self._files.ls(self._root, detail=True, refresh=True)
        except FileNotFoundError:
            return
        except Exception as error:  # as above
            raise Unavailable(f"{without_password(self.url)} cannot be listed: {error}") from error
        for entry in listed:
            if entry["type"] == "file":
                name = entry["name"].rpartition("/")[2]
                yield Stored(name, entry["size"] or 0, _age(self._files, entry["name"]))

    def remove(self, name: str) -> None:
        """Take it away."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._place(name))

    def _place(self, name: str) -> str:
        return "/".join((self._root.rstrip("/"), *_steps(name)))

    def _shown(self, name: str) -> str:
        return f"{without_password(self.url).rstrip('/')}/{name}"


def _steps(name: str) -> list[str]:
    """The parts of a name. Raises Invalid for one that would lead out of its storage."""
    steps = name.split("/")
    if any(step in ("", ".", "..") or "\0" in step or "\\" in step for step in steps):
        raise Invalid(f"a result cannot be kept under the name {name!r}: it is a path below its storage, without ..")
    return steps


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise Invalid(f"result storage {without_password(url)}: {error}") from error
    return files, root


def _age(files: Any, path: str) -> float | None:
    try:
        return time.time() - float(files.modified(path).timestamp())
    except Exception:  # as above; a file system that does not say
        return None


def _sync(folder: Path) -> None:
    """Make the rename last a loss of power, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
