"""Who we are to a Kafka cluster, and how we know that it is the one we mean: TLS and SASL.

What does not fit together is refused before anything connects; a password travels to no cluster but its own.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from tocsin.events.errors import Invalid

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

MECHANISMS: Final[tuple[str, ...]] = get_args(Mechanism)
_OLDEST_TLS: Final = ssl.TLSVersion.TLSv1_2


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached. The field `sasl_username` is the setting `TOCSIN_KAFKA_SASL_USERNAME`, and so on.

    `ssl_cafile`: who may sign for the brokers (PEM; none: whoever the system trusts). `ssl_certfile`, `ssl_keyfile`:
    our own certificate and its key (PEM), for clusters that ask for one; the key may stand in the certificate's file.
    """

    security_protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: Mechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises `Invalid` that names the settings which do not fit together."""
        if flaws := list(_flaws(self)):
            raise Invalid("; ".join(flaws))

    def __str__(self) -> str:
        """The way in as people call it, without its secrets: "SASL_SSL with PLAIN as 'tocsin'"."""
        return self.security_protocol + (f" with {self.sasl_mechanism} as {self.sasl_username!r}" if self.sasl else "")

    @property
    def sasl(self) -> bool:
        """Whether we say who we are by name and password."""
        return self.security_protocol.startswith("SASL")

    @property
    def bare(self) -> bool:
        """Whether the password itself travels where anybody on the way can read it."""
        return self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN"

    def tls(self) -> ssl.SSLContext | None:
        """What proves the brokers' names and ours; None without TLS. Raises `Invalid` naming a file that is no good."""
        if not self.security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"{_name('ssl_cafile')}={self.ssl_cafile}: no certificates ({error})") from error
        context.minimum_version = _OLDEST_TLS
        if self.ssl_certfile:
            self._identify(context, self.ssl_certfile)
        return context

    def client_settings(self) -> Mapping[str, object]:
        """The settings of an aiokafka client."""
        given: dict[str, object] = {"security_protocol": self.security_protocol, "ssl_context": self.tls()}
        if self.sasl:
            given["sasl_mechanism"] = self.sasl_mechanism
            given["sasl_plain_username"], given["sasl_plain_password"] = self.sasl_username, self.sasl_password
        return given

    def _identify(self, context: ssl.SSLContext, certfile: str) -> None:
        try:
            # An empty password rather than none: without one OpenSSL would ask on the terminal.
            context.load_cert_chain(certfile, self.ssl_keyfile, self.ssl_key_password or "")
        except (OSError, ssl.SSLError) as error:
            where = f"{_name('ssl_certfile')}={certfile}"
            key = f" with {_name('ssl_keyfile')}={self.ssl_keyfile}" if self.ssl_keyfile else ""
            hint = "a certificate and its key in PEM; a sealed key needs " + _name("ssl_key_password")
            raise Invalid(f"{where}{key}: {error}; give {hint}") from error


def _flaws(access: Access) -> Iterator[str]:
    chosen = f"{_name('security_protocol')}={access.security_protocol}"
    named, files = _given(access, "sasl"), _given(access, "ssl")
    if access.sasl:
        wanted = ("sasl_mechanism", "sasl_username", "sasl_password")
        if lacking := [_name(one) for one in wanted if one not in named]:
            yield f"{chosen} needs {', '.join(lacking)} (mechanisms: {', '.join(MECHANISMS)})"
    elif named:
        yield f"{chosen} logs nobody in, yet {_names(named)} is set; choose SASL_SSL (or SASL_PLAINTEXT), or unset it"
    if files and not access.security_protocol.endswith("SSL"):
        yield f"{chosen} has no TLS, yet {_names(files)} is set; choose SSL or SASL_SSL, or unset it"
    for part in ("ssl_keyfile", "ssl_key_password"):
        if part in files and not access.ssl_certfile:
            yield f"{_name(part)} is of no use without {_name('ssl_certfile')}"


def _given(access: Access, family: str) -> dict[str, object]:
    return {
        name: value for name in Access.__slots__ if name.startswith(family) and (value := getattr(access, name, None))
    }


def _names(fields: Mapping[str, object]) -> str:
    return ", ".join(map(_name, fields))


def _name(setting: str) -> str:
    return f"TOCSIN_KAFKA_{setting.upper()}"


OPEN: Final = Access()
"""A cluster that lets in whoever reaches it."""
