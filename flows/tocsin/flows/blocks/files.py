"""Places for files: a folder here, or anywhere that fsspec reaches. Paths in them never lead out of them."""

import asyncio
import os
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar

from pydantic import Field, PrivateAttr, Secret, field_validator

from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows.blocks.block import Block


class Files:
    """What every place for files can do. `path` is always relative to the place, with slashes."""

    def filesystem(self) -> Any:  # Any: fsspec has no types
        """The fsspec file system behind it; for what is not offered here."""
        raise NotImplementedError

    def root(self) -> str:
        """Where the place is in its file system, without a slash at the end."""
        raise NotImplementedError

    def full_path(self, path: str = "") -> str:
        """Where `path` is in the file system. Raises Invalid for a path that leads out of the place."""
        parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in (".", "/")]
        if ".." in parts or "\0" in path:
            raise Invalid(f"path {path!r} leads out of {self.root()}; give one without ..")
        return "/".join([self.root(), *parts])

    def read_path(self, path: str) -> bytes:
        """The contents of a file. Raises FileNotFoundError."""
        contents: bytes = self.filesystem().cat_file(self._given(path))
        return contents

    def write_path(self, path: str, content: bytes) -> str:
        """Write a file, folders and all, in the place of one that is there; its full path."""
        target = self._given(path)
        files = self.filesystem()
        self._make_folders(files, target)
        files.pipe_file(target, content)
        return target

    def list(self, path: str = "") -> list[str]:
        """The files below a folder, however deep, by their paths; none for a folder that is not there."""
        files, root = self.filesystem(), self.root()
        files.invalidate_cache()
        try:
            found = files.find(self.full_path(path))
        except FileNotFoundError:
            return []
        return sorted(_below(one, root) for one in found)

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder."""
        files = self.filesystem()
        files.invalidate_cache()
        return bool(files.exists(self._given(path)))

    def remove(self, path: str) -> None:
        """Remove a file. Raises FileNotFoundError."""
        self.filesystem().rm_file(self._given(path))

    def upload_from_path(self, from_path: str | os.PathLike[str], to_path: str | None = None) -> str:
        """Copy a file of this machine into the place, under its own name unless told otherwise; its full path."""
        return self.upload_from_file_object(_open(from_path), to_path or Path(from_path).name)

    def upload_from_file_object(self, from_file: IO[bytes], to_path: str) -> str:
        """Write what a file object still holds, and close it; the full path."""
        target, files = self._given(to_path), self.filesystem()
        self._make_folders(files, target)
        with from_file, files.open(target, "wb") as writing:
            while part := from_file.read(1 << 20):
                writing.write(part)
        return target

    def upload_from_folder(self, from_folder: str | os.PathLike[str], to_folder: str = "") -> int:
        """Copy all files below a folder of this machine; how many."""
        folder = Path(from_folder)
        found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        for file in found:
            self.upload_from_path(file, str(PurePosixPath(to_folder) / file.relative_to(folder).as_posix()))
        return len(found)

    def download_to_path(self, from_path: str, to_path: str | os.PathLike[str] | None = None) -> Path:
        """Copy a file to this machine, under its own name unless told otherwise; where it is now. Whole or not at all.

        Raises FileNotFoundError.
        """
        target = Path(to_path or PurePosixPath(from_path).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with self.filesystem().open(self._given(from_path), "rb") as reading, draft.open("wb") as writing:
                while part := reading.read(1 << 20):
                    writing.write(part)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def download_folder_to_path(self, from_folder: str, to_folder: str | os.PathLike[str]) -> int:
        """Copy all files below a folder to this machine; how many."""
        found = self.list(from_folder)
        start = PurePosixPath(from_folder.strip("/") or ".")
        for path in found:
            self.download_to_path(path, Path(to_folder) / PurePosixPath(path).relative_to(start))
        return len(found)

    async def aread_path(self, path: str) -> bytes:
        """`read_path` for coroutines."""
        return await asyncio.to_thread(self.read_path, path)

    async def awrite_path(self, path: str, content: bytes) -> str:
        """`write_path` for coroutines."""
        return await asyncio.to_thread(self.write_path, path, content)

    def _make_folders(self, files: Any, target: str) -> None:  # Any: fsspec has no types
        files.makedirs(target.rpartition("/")[0], exist_ok=True)

    def _given(self, path: str) -> str:
        full = self.full_path(path)
        if full == self.root():
            raise Invalid(f"path {path!r} names no file in {self.root()}")
        return full


class LocalFileSystem(Files, Block):
    """A folder of this machine; of a shared disk, of several."""

    type_slug: ClassVar[str] = "local-file-system"
    basepath: str

    def filesystem(self) -> Any:  # Any: fsspec has no types
        """fsspec's local file system."""
        return _fsspec("file")

    def root(self) -> str:
        """The folder, `~` and relative paths followed."""
        return Path(self.basepath).expanduser().resolve().as_posix().rstrip("/")


class RemoteFileSystem(Files, Block):
    """Anywhere that fsspec reaches: `basepath` as `s3://bucket/folder`; `settings` go to the file system, sealed."""

    type_slug: ClassVar[str] = "remote-file-system"
    basepath: str
    # Any: each file system has its own settings.
    settings: Secret[dict[str, Any]] = Field(default_factory=lambda: Secret({}))
    _files: Any = PrivateAttr(default=None)

    @field_validator("basepath")
    @classmethod
    def _has_scheme(cls, basepath: str) -> str:
        scheme, sign, rest = basepath.partition("://")
        if not (sign and scheme and rest.strip("/")):
            raise ValueError("give it as scheme://place, such as s3://bucket/folder")
        return basepath

    def filesystem(self) -> Any:  # Any: fsspec has no types
        """The file system of the scheme. Raises Unavailable when its package is not installed."""
        if self._files is None:
            self._files = _fsspec(self.basepath.partition("://")[0], **self.settings.get_secret_value())
        return self._files

    def root(self) -> str:
        """The place as its file system names it."""
        return str(self.filesystem()._strip_protocol(self.basepath)).rstrip("/")


def _fsspec(scheme: str, **settings: Any) -> Any:
    import fsspec  # only who opens a file needs it

    try:
        return fsspec.filesystem(scheme, **settings)
    except (ImportError, ValueError) as error:
        raise Unavailable(f"no file system for {scheme}://: {error}; install its package") from error


def _below(path: str, root: str) -> str:
    return path[len(root) :].lstrip("/") if path.startswith(root) else path


def _open(path: str | os.PathLike[str]) -> IO[bytes]:
    return Path(path).open("rb")
