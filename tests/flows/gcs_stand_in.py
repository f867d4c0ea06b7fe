"""As much of Google Cloud Storage's JSON API as gcsfs speaks for plain files, on loopback, over a dict."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket:
    """The objects of a bucket, and the headers that its requests brought."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.authorizations: list[str | None] = []

    def described(self, name: str) -> dict[str, Any]:
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": "reports",
            "size": str(len(self.objects[name])),
            "generation": "1",
            "updated": "2026-03-02T09:00:00.000Z",
            "timeCreated": "2026-03-02T09:00:00.000Z",
        }


class Storage(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.bucket.authorizations.append(self.headers.get("Authorization"))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        place, _, name = url.path.partition("/o/")
        if name:
            self._object(unquote(name), query)
        elif place.endswith("/o"):
            self._list(query)
        elif place.endswith("/b/reports"):
            self._answer(200, {"kind": "storage#bucket", "name": "reports"})
        else:
            self._answer(404, {"error": {"code": 404, "message": "Not Found"}})

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/resume":  # gcsfs posts the pieces of an upload where others put them
            self.do_PUT()
            return
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if query.get("uploadType") == "resumable":
            name = json.loads(body)["name"]
            self.bucket.uploads[name] = bytearray()
            here = f"http://{self.headers['Host']}"
            self._answer(200, {}, {"Location": f"{here}/resume?name={name}"})
            return
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        _, about, content, _ = body.split(b"--" + boundary)
        name = json.loads(about.partition(b"\n\n")[2])["name"]
        self.bucket.objects[name] = content.partition(b"\n\n")[2].removesuffix(b"\n")
        self._answer(200, self.bucket.described(name))

    def do_PUT(self) -> None:
        name = parse_qs(urlsplit(self.path).query)["name"][0]
        self.bucket.uploads[name] += self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers["Content-Range"].endswith("/*"):
            self._answer(308, None, {"Range": f"bytes=0-{len(self.bucket.uploads[name]) - 1}"})
            return
        self.bucket.objects[name] = bytes(self.bucket.uploads.pop(name))
        self._answer(200, self.bucket.described(name))

    def do_DELETE(self) -> None:
        name = unquote(urlsplit(self.path).path.partition("/o/")[2])
        found = self.bucket.objects.pop(name, None)
        self._answer(204 if found is not None else 404, None)

    def _object(self, name: str, query: dict[str, str]) -> None:
        if name not in self.bucket.objects:
            self._answer(404, {"error": {"code": 404, "message": "Not Found"}})
        elif query.get("alt") == "media":
            self._media(self.bucket.objects[name])
        else:
            self._answer(200, self.bucket.described(name))

    def _media(self, body: bytes) -> None:
        wanted = self.headers.get("Range")
        if not wanted:
            self._answer(200, body)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
        self._answer(206, body[begin : end + 1], {"Content-Range": f"bytes {begin}-{end}/{len(body)}"})

    def _list(self, query: dict[str, str]) -> None:
        prefix, mark = query.get("prefix", ""), query.get("delimiter", "")
        names = sorted(name for name in self.bucket.objects if name.startswith(prefix))
        deeper = [name for name in names if mark and mark in name[len(prefix) :]]
        folders = sorted({prefix + name[len(prefix) :].partition(mark)[0] + mark for name in deeper})
        items = [self.bucket.described(name) for name in names if name not in deeper]
        self._answer(200, {"kind": "storage#objects", "items": items, "prefixes": folders})

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        given = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {"Content-Length": str(len(given)), "Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(given)


@contextmanager
def storage() -> Iterator[tuple[str, Bucket]]:
    """The address of a running storage with the bucket `reports`, and what is in it."""
    bucket = Bucket()
    handler = type("Handler", (Storage,), {"bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
