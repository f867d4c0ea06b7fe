"""The door for webhooks: where it may go, and what it says of what happened. No packet leaves this machine."""

from collections.abc import Iterator
from datetime import timedelta
from socket import AddressFamily

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tocsin.events.errors import Invalid
from tocsin.notifiers.addresses import read_allow, refusal
from tocsin.notifiers.http import ANSWER_BYTES, Answer, Door, Forbidden, Unanswered, Unsent, post, proxy_for
from tocsin.notifiers.standins import Fail, Hang, Reset
from tocsin.notifiers.standins.loopback import Reply, Request, StandIn


class Echo(StandIn):
    """Answers 200 with what came in."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        super().__init__()

    def answer(self, request: Request) -> Reply:
        self.seen.append(request)
        return Reply(200, request.body.decode(), "text/plain", {"X-Echo": "yes"})

    def refuse(self, word: str, request: Request) -> Reply:
        return Reply(400, word)


class Names(AbstractResolver):
    """A resolver that knows a few names, and answers differently from one time to the next when told so."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=AddressFamily.AF_INET, proto=0, flags=0)
            for address in self.names[host]
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


REFUSED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("10.1.2.3", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("fd12:3456::1", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.100.100.200", "cloud metadata"),
    ("169.254.169.254", "link-local"),
    ("::ffff:169.254.169.254", "link-local"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b:1::a00:1", "local NAT64"),
    ("2002:7f00:1::", "loopback"),
    ("2002:a9fe:a9fe::1", "link-local"),
    ("2001:0:53aa:64c::1", "Teredo"),
    ("::7f00:1", "loopback"),
    ("::a00:1", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "site-local"),
    ("fd00:ec2::254", "cloud metadata"),
    ("168.63.129.16", "cloud metadata"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "this network"),
    ("::", "unspecified"),
    ("224.0.0.1", "multicast"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
    ("240.0.0.1", ""),
    ("255.255.255.255", ""),
    ("198.18.0.1", ""),
    ("192.0.2.1", ""),
    ("2001:db8::1", ""),
]


@pytest.mark.parametrize(("address", "reason"), REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str, reason: str) -> None:
    found = refusal("hooks.example", 443, address, ())
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_a_public_address_is_not(address: str) -> None:
    assert refusal("hooks.example", 443, address, ()) is None


@pytest.mark.parametrize(
    ("lines", "host", "port", "address", "allowed"),
    [
        pytest.param(["hooks.internal"], "hooks.internal", 443, "10.0.0.7", True, id="a name, any port"),
        pytest.param(["hooks.internal:8080"], "hooks.internal", 8080, "10.0.0.7", True, id="a name with its port"),
        pytest.param(["hooks.internal:8080"], "hooks.internal", 22, "10.0.0.7", False, id="another port"),
        pytest.param(["hooks.internal"], "other.internal", 443, "10.0.0.7", False, id="another name"),
        pytest.param(["Hooks.Internal"], "hooks.internal", 443, "10.0.0.7", True, id="case does not count"),
        pytest.param(["10.0.0.0/8"], "anything", 443, "10.9.9.9", True, id="a network"),
        pytest.param(["10.0.0.0/8"], "anything", 443, "::ffff:10.9.9.9", True, id="a network, mapped"),
        pytest.param(["10.0.0.0/8"], "anything", 443, "192.168.0.1", False, id="outside the network"),
        pytest.param(["[::1]:8080"], "::1", 8080, "::1", True, id="an IPv6 address with a port"),
        pytest.param(["::1"], "::1", 8080, "::1", True, id="an IPv6 address"),
        pytest.param(["hooks.internal"], "hooks.internal", 443, "169.254.169.254", False, id="no name opens metadata"),
        pytest.param(["hooks.internal"], "hooks.internal", 443, "224.0.0.1", False, id="no name opens multicast"),
        pytest.param(["169.254.169.254/32"], "x", 80, "169.254.169.254", True, id="its own network does"),
    ],
)
def test_an_allow_list_opens_what_it_says(lines: list[str], host: str, port: int, address: str, allowed: bool) -> None:
    assert (refusal(host, port, address, read_allow(lines)) is None) is allowed


@pytest.mark.parametrize("line", ["", "10.0.0.0/99", "host:port", "two words", ":80"])
def test_an_allow_list_that_cannot_be_read_says_how(line: str) -> None:
    with pytest.raises(Invalid, match=r"give a network \(10\.0\.0\.0/8\), a host"):
        read_allow([line])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "http:///",
        "http://[::1",
        "",
    ],
)
async def test_a_url_to_this_machine_or_of_another_kind_is_refused(url: str) -> None:
    outcome = await post(url, b"{}", {})
    assert isinstance(outcome, Forbidden), outcome


async def test_a_name_is_refused_when_one_of_its_addresses_is(echo: Echo) -> None:
    names = Names(mixed_example=["8.8.8.8", "127.0.0.1"])
    async with Door(names) as door:
        outcome = await door.post(f"{echo.address.replace('127.0.0.1', 'mixed.example')}/", b"{}")
    assert isinstance(outcome, Forbidden)
    assert "mixed.example (127.0.0.1) is refused: loopback" in outcome.reason
    assert echo.seen == []


async def test_a_name_that_answers_otherwise_the_second_time_gains_nothing(echo: Echo) -> None:
    """DNS rebinding: aiohttp connects to the addresses that were checked; it asks no second time."""
    names = Names(rebind_example=["10.0.0.1"])
    async with Door(names) as door:
        url = f"{echo.address.replace('127.0.0.1', 'rebind.example')}/"
        assert isinstance(await door.post(url, b"{}"), Forbidden)
        names.names["rebind.example"] = ["127.0.0.1"]
        assert isinstance(await door.post(url, b"{}"), Forbidden)
    assert names.asked == ["rebind.example"] * 2


async def test_a_connection_opened_under_one_allow_list_is_not_used_under_another(echo: Echo) -> None:
    names = Names(inside_example=["127.0.0.1"])
    async with Door(names) as door:
        url = f"{echo.address.replace('127.0.0.1', 'inside.example')}/"
        assert isinstance(await door.post(url, b"{}", allow=["inside.example"]), Answer)
        assert isinstance(await door.post(url, b"{}"), Forbidden)
    assert len(echo.seen) == 1


async def test_an_answer_comes_with_status_headers_and_a_bounded_body(echo: Echo) -> None:
    async with Door() as door:
        allow = [echo.address.removeprefix("http://")]
        answer = await door.post(echo.address, b"hello", {"X-Mine": "1"}, allow=allow)
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, answer.headers["x-echo"]) == (200, "hello", "yes")
        assert echo.seen[0].headers["x-mine"] == "1"
        long = await door.post(echo.address, b"x" * 1_000_000, allow=allow)
        assert isinstance(long, Answer)
        assert len(long.body) == ANSWER_BYTES


async def test_a_redirect_is_an_answer_and_is_not_followed(echo: Echo) -> None:
    echo.fail(Fail(302, headers={"Location": "/elsewhere"}))
    answer = await post(echo.address, b"{}", allow=["127.0.0.1"])
    assert isinstance(answer, Answer)
    assert answer.status == 302
    assert echo.requests == 1


async def test_no_proxy_of_the_environment_is_used(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(await post(echo.address, b"{}", allow=["127.0.0.1"]), Answer)
    assert proxy_for("http://127.0.0.1:8000/") is None
    assert proxy_for("http://localhost:8000/") is None
    assert proxy_for("http://hooks.example/") == "http://127.0.0.1:9"
    monkeypatch.setenv("no_proxy", "hooks.example")
    assert proxy_for("http://hooks.example/") is None


async def test_what_happened_is_a_value(echo: Echo) -> None:
    allow = ["127.0.0.1"]
    echo.fail(Reset(), Reset(accept=True), Hang())
    assert isinstance(await post(echo.address, b"{}", allow=allow), Unanswered)
    assert isinstance(await post(echo.address, b"{}", allow=allow), Unanswered)
    quick = timedelta(milliseconds=200)
    assert isinstance(await post(echo.address, b"{}", allow=allow, timeout=quick), Unanswered)
    assert isinstance(await post(echo.address, b"", {"bad\nheader": "x"}, allow=allow), Forbidden)
    echo.close()
    assert isinstance(await post(echo.address, b"{}", allow=allow), Unsent)


async def test_a_name_that_nobody_knows_is_tried_again_later() -> None:
    class Nobody(Names):
        async def resolve(
            self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
        ) -> list[ResolveResult]:
            raise OSError("no such name")

    async with Door(Nobody()) as door:
        assert isinstance(await door.post("http://hooks.example/", b"{}"), Unsent)
