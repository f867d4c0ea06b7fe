"""Who may ask: the key, the Host header, the Origin; and what is asked of nobody."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tests.server.conftest import serving
from tocsin.events.errors import Invalid, Unavailable
from tocsin.server.http import listen
from tocsin.server.settings import Settings, is_loopback
from tocsin.store.engine import Store

KEY = "0123456789abcdef0123"
OPEN = Settings(port=0)
KEYED = Settings(port=0, api_key=SecretStr(KEY))
NAMED = Settings(port=0, allowed_hosts="tocsin.test, other.test")
KEYED_NAMED = Settings(port=0, api_key=SecretStr(KEY), allowed_hosts="tocsin.test")
BEARER = {"authorization": f"Bearer {KEY}"}

CASES: list[tuple[str, Settings, str, dict[str, str], int]] = [
    # id, settings, path, headers, status
    ("loopback needs no key", OPEN, "/api/events", {}, 200),
    ("a name that was rebound to this address", OPEN, "/api/events", {"host": "evil.test"}, 421),
    ("the same with a port", OPEN, "/api/events", {"host": "evil.test:4200"}, 421),
    ("a name that only begins like loopback", OPEN, "/api/events", {"host": "127.0.0.1.evil.test"}, 421),
    ("IPv6 loopback", OPEN, "/api/events", {"host": "[::1]:4200"}, 200),
    ("localhost", OPEN, "/api/events", {"host": "LOCALHOST:1"}, 200),
    ("an allowed name", NAMED, "/api/events", {"host": "Tocsin.test:80"}, 200),
    ("a name that is not on the list", NAMED, "/api/events", {"host": "evil.test"}, 421),
    ("a page of this server", OPEN, "/api/events", {"host": "localhost:1", "origin": "http://localhost:1"}, 200),
    ("a page of another host", OPEN, "/api/events", {"origin": "http://evil.test"}, 403),
    ("a page from nowhere", OPEN, "/api/events", {"origin": "null"}, 403),
    ("no key", KEYED, "/api/events", {}, 401),
    ("another key", KEYED, "/api/events", {"authorization": f"Bearer {KEY}x"}, 401),
    ("the beginning of the key", KEYED, "/api/events", {"authorization": f"Bearer {KEY[:-1]}"}, 401),
    ("another scheme", KEYED, "/api/events", {"authorization": f"Basic {KEY}"}, 401),
    ("an empty header", KEYED, "/api/events", {"authorization": ""}, 401),
    ("the key", KEYED, "/api/events", BEARER, 200),
    ("the key under any name", KEYED, "/api/events", {**BEARER, "host": "server:4200"}, 200),
    ("the key under a name that is not on the list", KEYED_NAMED, "/api/events", {**BEARER, "host": "evil.test"}, 421),
    ("nothing tells which routes exist", KEYED, "/api/nothing", {}, 401),
    ("the description needs the key", KEYED, "/api/openapi.json", {}, 401),
    ("health needs no key", KEYED, "/api/health", {}, 200),
    ("nor does ready", KEYED, "/api/ready", {}, 200),
]


@pytest.mark.parametrize(("settings", "path", "headers", "status"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_the_guard_lets_in_whom_it_should(
    sqlite_url: str, settings: Settings, path: str, headers: dict[str, str], status: int
) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, settings) as api:
        answer = await api.get(path, headers=headers)
        assert answer.status == status
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert KEY not in answer.body.decode()
        assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)
    store.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "tocsin.test", ""])
def test_an_address_that_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(Invalid, match="TOCSIN_API_KEY"):
        listen(Settings(host=host, port=0))


def test_every_address_with_a_key_is_served() -> None:
    listen(Settings(host="0.0.0.0", port=0, api_key=SecretStr(KEY))).close()


def test_a_taken_port_is_named_with_the_way_out() -> None:
    taken = listen(OPEN)
    with pytest.raises(Unavailable, match="TOCSIN_PORT"):
        listen(Settings(port=taken.getsockname()[1]))
    taken.close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
