"""Apache Kafka behind locks: certificates of a made-up authority, users with passwords, a listener for each way in."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.kafka.broker import ApacheBroker
from tocsin.events.kafka_access import Access

USER, PASSWORD = "tocsin", "correct-horse-battery"
KEY_PASSWORD = "staple-of-the-key"
LISTENERS = {"WORD": "SASL_PLAINTEXT", "TLS": "SSL", "BOTH": "SASL_SSL"}
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
_BY_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class GuardedBroker(ApacheBroker):
    """Listeners `WORD` (password), `TLS` (certificates of both sides) and `BOTH` (password over TLS)."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca.pem")
        self.mine = self.authority.sign(folder / "client.pem", USER, KEY_PASSWORD)
        broker = self.authority.sign(folder / "broker.pem", "broker")
        users = [f"{mechanism}=[name={USER},password={PASSWORD}]" for mechanism in SCRAM]
        super().__init__(folder, LISTENERS, _settings(self.authority.file, broker), users)

    @property
    def ways(self) -> dict[str, tuple[str, Access]]:
        """Each way in: the address and what is to be shown there."""
        word, tls, both = (self.addresses[name] for name in LISTENERS)
        ca, own = str(self.authority.file), str(self.mine)
        opened = Access("SSL", ssl_cafile=ca, ssl_certfile=own, ssl_key_password=KEY_PASSWORD)
        return {
            "PLAIN": (word, Access("SASL_PLAINTEXT", "PLAIN", USER, PASSWORD)),
            "SCRAM-SHA-256": (word, Access("SASL_PLAINTEXT", "SCRAM-SHA-256", USER, PASSWORD)),
            "certificate": (tls, opened),
            "SCRAM-SHA-512 over TLS": (both, Access("SASL_SSL", "SCRAM-SHA-512", USER, PASSWORD, ca)),
        }


class Authority:
    """Somebody who signs certificates; its own lies in `file`."""

    def __init__(self, file: Path) -> None:
        self.file, self._key = file, ec.generate_private_key(ec.SECP256R1())
        self._name = _named("an authority of the tests")
        made = _certificate(self._name, self._name, self._key)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(self, file: Path, name: str, password: str | None = None) -> Path:
        """A file with the key and the certificate of `name` at loopback; the key is sealed with the password."""
        key = ec.generate_private_key(ec.SECP256R1())
        place = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        made = _certificate(_named(name), self._name, key).add_extension(place, critical=False)
        seal = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write_bytes(key.private_bytes(pem, form, seal) + made.sign(self._key, hashes.SHA256()).public_bytes(pem))
        return file


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(name: x509.Name, by: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(by, name, key.public_key(), x509.random_serial_number())
    return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


def _settings(authority: Path, own: Path) -> str:
    lines = {
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": own,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": authority,
        "listener.name.tls.ssl.client.auth": "required",
    }
    for listener in ("word", "both"):
        lines[f"listener.name.{listener}.plain.sasl.jaas.config"] = _PLAIN
        for mechanism in SCRAM:
            lines[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = _BY_SCRAM
    return "".join(f"{name}={value}\n" for name, value in lines.items())
