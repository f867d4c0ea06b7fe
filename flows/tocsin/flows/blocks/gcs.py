"""A bucket of Google Cloud Storage, through gcsfs (`pip install 'tocsin[gcs]'`)."""

import json
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from tocsin.events.errors import Unavailable
from tocsin.flows.blocks.block import Block
from tocsin.flows.blocks.files import Files


class GCSBucket(Files, Block):
    """A bucket, or a folder of one. Without a service account the credentials of the machine are taken.

    `service_account_info` is the JSON of the key, sealed; `service_account_file` a path on the machine that runs.
    `endpoint_url`: another address of the storage, such as an emulator's; then no credentials are looked for.
    """

    type_slug: ClassVar[str] = "gcs-bucket"
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
    bucket_folder: str = ""
    project: str | None = None
    service_account_info: SecretStr | None = None
    service_account_file: str | None = None
    anonymous: bool = False
    endpoint_url: str | None = None
    _files: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_way_in(self) -> "GCSBucket":
        given = [self.service_account_info is not None, self.service_account_file is not None, self.anonymous]
        if sum(given) > 1:
            raise ValueError("give one of service_account_info, service_account_file and anonymous")
        if self.service_account_info is not None:
            try:
                whole = json.loads(self.service_account_info.get_secret_value())
            except ValueError:
                whole = None
            if not isinstance(whole, dict) or "private_key" not in whole:
                raise ValueError("service_account_info is the JSON text of a service account's key")
        return self

    def filesystem(self) -> Any:  # Any: gcsfs has no types
        """The gcsfs file system. Raises Unavailable when it is not installed."""
        if self._files is None:
            try:
                # An extra; and its form that speaks the JSON API alone, as an `endpoint_url` does: the package's
                # default asks by gRPC besides, at Google's own address.
                from gcsfs.core import GCSFileSystem
            except ImportError as error:
                raise Unavailable("GCSBucket needs gcsfs: pip install 'tocsin[gcs]'") from error
            # Without a project gcsfs warns that it cannot make buckets; nothing here makes one.
            project = self.project or ""
            self._files = GCSFileSystem(project=project, token=self._token(), endpoint_url=self.endpoint_url)
        return self._files

    def root(self) -> str:
        """`bucket`, or `bucket/folder`."""
        return "/".join(part for part in (self.bucket, self.bucket_folder.strip("/")) if part)

    def _make_folders(self, files: Any, target: str) -> None:  # Any: gcsfs has no types
        """Nothing to do: the storage has no folders."""

    def _token(self) -> Any:  # Any: gcsfs takes a dict, a path or a word
        if self.service_account_info is not None:
            return json.loads(self.service_account_info.get_secret_value())
        if self.service_account_file is not None:
            return str(Path(self.service_account_file).expanduser())
        return "anon" if self.anonymous or self.endpoint_url else None


GcsBucket = GCSBucket
