"""What a deployment may set: the `TOCSIN_*` environment, or files of the same names in a folder of secrets."""

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

from tocsin.events.errors import Invalid
from tocsin.events.kafka_access import Access, Mechanism, Protocol

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """Every setting of every role. The field `database_url` is the variable `TOCSIN_DATABASE_URL`, and so on."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="Where the truth lives: `sqlite:///file.db` or `postgresql://user:password@host/name`. "
        "Unset: an SQLite file under the home.",
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None, description="`host:port[,host:port]`. Set: the bus is Kafka. Unset: the bus is the log table."
    )
    kafka_topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Stands before every topic and group, so that installations can share a Kafka cluster.",
    )
    kafka_security_protocol: Protocol = Field(
        default="PLAINTEXT",
        description="How Kafka is reached: `PLAINTEXT`, `SSL` (TLS), `SASL_PLAINTEXT` (by name and password, not "
        "encrypted) or `SASL_SSL`.",
    )
    kafka_sasl_mechanism: Mechanism | None = Field(
        default=None, description="How name and password are shown: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    kafka_sasl_username: str | None = Field(default=None, description="Who we are to Kafka.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="The password that goes with it.")
    kafka_ssl_cafile: Path | None = Field(
        default=None, description="Who may sign for the brokers: certificates, PEM. Unset: whoever the system trusts."
    )
    kafka_ssl_certfile: Path | None = Field(
        default=None, description="Our own certificate, PEM, for a cluster that asks for one."
    )
    kafka_ssl_keyfile: Path | None = Field(
        default=None, description="The certificate's key, PEM. Unset: it stands in the certificate's file."
    )
    kafka_ssl_key_password: SecretStr | None = Field(default=None, description="What opens that key, if it is sealed.")
    cloudevents_topic: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Kafka topic, by its full name, to which a dispatcher writes events as CloudEvents. It must exist.",
    )
    cloudevents_mode: Literal["structured", "binary"] = Field(
        default="structured", description="The form that they have there."
    )
    cloudevents_events: str = Field(
        default="tocsin.*",
        min_length=1,
        description="Which ones: names, comma separated, with `*` for one character or more.",
    )
    cloudevents_source: str = Field(
        default="/tocsin",
        pattern=r"^/tocsin(/[A-Za-z0-9._~-]+)*$",
        description="The `source` of our CloudEvents, wherever they go: `/tocsin`, or a path below it that tells "
        "installations apart.",
    )
    home: Path = Field(
        default_factory=lambda: Path("~/.tocsin").expanduser(),
        description="Folder of the default database and of the key that seals secrets.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address the API listens on. Others than loopback need an API key."
    )
    port: int = Field(default=4200, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    allowed_hosts: str = Field(
        default="",
        description="Names, comma separated, that a request's Host header may carry besides loopback's.",
    )
    api_key: SecretStr | None = Field(
        default=None, min_length=16, description="The API then wants `Authorization: Bearer <key>`; the CLI sends it."
    )
    metrics_open: bool = Field(default=False, description="`GET /metrics` is answered without the API key.")
    api_url: str | None = Field(
        default=None, description="Where a server is, for programs that emit and commands that ask over HTTP."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Fernet keys, comma separated, that seal the secrets of notifiers and hooks; the first seals. "
        "Unset: a key file under the home.",
    )
    results_storage: str = Field(
        default="",
        description="Where results of tasks and flows lie: a path, or an address that fsspec knows, such as "
        "`s3://bucket/path`. Unset: a folder under the home.",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Folder whose files (`tocsin_api_key`, ...) give settings that the environment does not.",
    )
    processor: Literal["auto", "embedded", "stream"] = Field(
        default="auto",
        description="How automations are decided. `stream`: on Kafka, by any number of processors at once. "
        "`embedded`: in the database. `auto`: `stream` where Kafka is set.",
    )
    work_pool: str = Field(default="default", description="The pool from which a worker takes runs.")
    worker_limit: int = Field(default=4, ge=1, le=1000, description="How many runs one worker has under way at once.")
    late_after_s: float = Field(
        default=15.0, ge=0, description="How many seconds after its time a run that nobody has taken becomes `Late`."
    )
    worker_queues: str = Field(
        default="", description="Queues of the pool, comma separated, from which it takes them. Unset: from all."
    )
    worker_drain: float = Field(
        default=0, ge=0, description="Seconds for which a worker that is stopped lets its runs go on."
    )
    worker_scale: str | None = Field(
        default=None, description="`MIN:MAX`: a worker starts so many others as there is work for, instead of working."
    )
    log_level: LogLevel = Field(default="INFO", description="The least that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: lines for people on a terminal, JSON elsewhere."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is asked in turn: arguments, the environment, the folder of secrets that the environment names."""
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=_secrets_dir())

    @property
    def streams(self) -> bool:
        """Whether automations are decided on Kafka."""
        return self.processor == "stream" or (self.processor == "auto" and bool(self.kafka_bootstrap_servers))

    @property
    def url(self) -> str | None:
        """The database's address in the clear, or None for the default under the home."""
        return self.database_url.get_secret_value() if self.database_url else None

    @property
    def key(self) -> str | None:
        """The API key in the clear, or None when the API is open (loopback only)."""
        return self.api_key.get_secret_value() if self.api_key else None


def kafka_access(settings: Settings) -> Access:
    """How the Kafka of the settings is reached. Raises Invalid naming the variables that do not fit together."""
    opened = {name: _clear(getattr(settings, f"kafka_{name}")) for name in Access.__slots__}
    # Any: pydantic has checked each of them.
    chosen: dict[str, Any] = {name: value for name, value in opened.items() if value}
    return Access(**chosen)


def _clear(value: object) -> str | None:
    if value is None:
        return None
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def load(**given: str | float | None) -> Settings:
    """The settings of this process; what is `given` (and not None) goes before the environment.

    Raises Invalid naming each variable that cannot be read.
    """
    try:
        # Any: pydantic checks each against its field.
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Settings(**chosen)
    except ValidationError as error:
        raise Invalid("; ".join(map(_complaint, error.errors()))) from error


def _secrets_dir() -> str | None:
    folder = os.environ.get("TOCSIN_SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise Invalid(f"TOCSIN_SECRETS_DIR: there is no folder {folder}; create it or unset the variable")
    return folder


def _complaint(item: ErrorDetails) -> str:
    name = "TOCSIN_" + "_".join(str(part) for part in item["loc"]).upper()
    if item["type"] == "too_short":  # pydantic counts "items after validation" in a secret
        return f"{name}: give at least {item['ctx']['min_length']} characters"
    return f"{name}: {item['msg'][0].lower()}{item['msg'][1:]}"


def share(settings: Settings) -> None:
    """Put into the environment what child processes and the rooms read from there, the secrets' files included."""
    known = {
        "TOCSIN_HOME": str(settings.home),
        "TOCSIN_DATABASE_URL": settings.url,
        "TOCSIN_SECRET_KEY": settings.secret_key.get_secret_value() if settings.secret_key else None,
    }
    os.environ.update({name: value for name, value in known.items() if value})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_binding(settings: Settings) -> None:
    """Raises Invalid when the API would be open to other machines without a key."""
    if is_loopback(settings.host) or settings.api_key:
        return
    raise Invalid(
        f"TOCSIN_HOST={settings.host} is reachable by other machines and no API key is set; "
        "set TOCSIN_API_KEY (16 characters or more), or bind to 127.0.0.1"
    )
