"""The ways into a guarded Kafka: what does not fit together is refused, and each way leads in."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.guarded import PASSWORD, Authority, GuardedBroker
from tocsin.events.bus import Message, Record
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.kafka_access import OPEN, Access
from tocsin.events.topics import EVENTS

WAYS = ("PLAIN", "SCRAM-SHA-256", "certificate", "SCRAM-SHA-512 over TLS")
WHO = {"sasl_username": "me", "sasl_password": PASSWORD}
SOON = timedelta(milliseconds=200)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "me"},
            "TOCSIN_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs TOCSIN_KAFKA_SASL_PASSWORD ",
            id="a name without a password",
        ),
        pytest.param(
            {"security_protocol": "SASL_PLAINTEXT", **WHO},
            "needs TOCSIN_KAFKA_SASL_MECHANISM .mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
            id="no mechanism",
        ),
        pytest.param(
            WHO,
            "=PLAINTEXT logs nobody in, yet TOCSIN_KAFKA_SASL_USERNAME, TOCSIN_KAFKA_SASL_PASSWORD is set; choose SASL",
            id="a password for a way that asks for none",
        ),
        pytest.param(
            {"security_protocol": "SSL", "sasl_mechanism": "PLAIN"},
            "=SSL logs nobody in, yet TOCSIN_KAFKA_SASL_MECHANISM is set",
            id="a mechanism where nobody logs in",
        ),
        pytest.param(
            {"ssl_cafile": "ca.pem"},
            "=PLAINTEXT has no TLS, yet TOCSIN_KAFKA_SSL_CAFILE is set; choose SSL or SASL_SSL",
            id="certificates without TLS",
        ),
        pytest.param(
            {"security_protocol": "SSL", "ssl_keyfile": "key.pem"},
            "TOCSIN_KAFKA_SSL_KEYFILE is of no use without TOCSIN_KAFKA_SSL_CERTFILE",
            id="a key without its certificate",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(given: dict[str, Any], said: str) -> None:  # Any: bad ones, too
    with pytest.raises(Invalid, match=said) as refused:
        Access(**given)
    assert PASSWORD not in str(refused.value)


def test_files_that_are_no_good_are_refused_by_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem")
    sealed = authority.sign(tmp_path / "sealed.pem", "me", PASSWORD)
    gone, empty = str(tmp_path / "gone.pem"), tmp_path / "empty.pem"
    empty.write_text("")
    # Any: fields by name.
    table: tuple[tuple[dict[str, Any], str], ...] = (
        ({"ssl_cafile": gone}, "TOCSIN_KAFKA_SSL_CAFILE=.*gone.pem: no certificates"),
        ({"ssl_cafile": str(empty)}, "TOCSIN_KAFKA_SSL_CAFILE=.*empty.pem: no certificates"),
        ({"ssl_certfile": gone}, "TOCSIN_KAFKA_SSL_CERTFILE=.*gone.pem.*in PEM"),
        ({"ssl_certfile": str(sealed)}, "a sealed key needs TOCSIN_KAFKA_SSL_KEY_PASSWORD"),
        ({"ssl_certfile": str(sealed), "ssl_key_password": "wrong-one"}, "TOCSIN_KAFKA_SSL_CERTFILE"),
    )
    for given, said in table:
        with pytest.raises(Invalid, match=said) as refused:
            KafkaBus("127.0.0.1:9", access=Access("SSL", **given))
        assert "wrong-one" not in str(refused.value)


def test_no_password_is_shown() -> None:
    access = Access("SASL_SSL", "PLAIN", "me", PASSWORD, ssl_certfile="c", ssl_key_password=PASSWORD)
    assert PASSWORD not in f"{access} {access!r}"
    assert (str(access), str(OPEN)) == ("SASL_SSL with PLAIN as 'me'", "PLAINTEXT")


def test_the_password_itself_travels_unencrypted_by_one_way_only() -> None:
    assert Access("SASL_PLAINTEXT", "PLAIN", "me", PASSWORD).bare
    assert not Access("SASL_PLAINTEXT", "SCRAM-SHA-512", "me", PASSWORD).bare
    assert not Access("SASL_SSL", "PLAIN", "me", PASSWORD).bare


@pytest.mark.parametrize("way", WAYS)
async def test_everything_we_ask_of_a_cluster_goes_through_its_lock(
    guarded_kafka: GuardedBroker, topic_prefix: str, way: str
) -> None:
    address, access = guarded_kafka.ways[way]
    bus = KafkaBus(address, topic_prefix=topic_prefix, heartbeat=SOON, access=access)
    await bus.prepare()
    await bus.publish([Message(EVENTS, "k", b"1")])
    assert await bus.place(EVENTS, {0: [b"2"]})
    async with bus.subscribe("g") as member:
        found: list[Record] = []
        while len(found) < 2:
            found += await member.fetch(wait=timedelta(seconds=30))
        assert await member.lag() == 2
        await member.commit(found)
        assert await member.lag() == 0
        assert await member.ends()
    assert {record.body for record in found} == {b"1", b"2"}
    await bus.close()


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        pytest.param("PLAIN", Access("SASL_PLAINTEXT", "PLAIN", "tocsin", "not-the-password"), id="wrong password"),
        pytest.param("PLAIN", Access("SASL_PLAINTEXT", "SCRAM-SHA-512", "x", "not-the-password"), id="unknown user"),
        pytest.param("PLAIN", OPEN, id="no password"),
        pytest.param("certificate", Access("SSL"), id="a broker that nobody we trust has signed for"),
        pytest.param("certificate", OPEN, id="no TLS"),
    ],
)
async def test_who_is_not_let_in_is_told_by_which_way(
    guarded_kafka: GuardedBroker, caplog: pytest.LogCaptureFixture, way: str, shown: Access
) -> None:
    address, _ = guarded_kafka.ways[way]
    bus = KafkaBus(address, access=shown, request_timeout=timedelta(seconds=2))
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match="lets us in by") as refused:
        await bus.prepare()
    assert str(shown) in str(refused.value)
    assert "not-the-password" not in caplog.text + str(refused.value)
    await bus.close()


async def test_a_client_without_a_certificate_is_sent_away(guarded_kafka: GuardedBroker) -> None:
    address, _ = guarded_kafka.ways["certificate"]
    bus = KafkaBus(
        address,
        access=Access("SSL", ssl_cafile=str(guarded_kafka.authority.file)),
        request_timeout=timedelta(seconds=2),
    )
    with pytest.raises(Unavailable):
        await bus.prepare()
    await bus.close()
