"""Notifier blocks: how people say whom to tell, and where. Secrets are `SecretStr` and never shown."""

import base64
import binascii
import re
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from tocsin.events.errors import Invalid
from tocsin.notifiers.addresses import read_allow
from tocsin.notifiers.pace import Rate

ROUTING_KEY_LENGTH: Final = 32
RECIPIENTS: Final = 50
LINKS: Final = 10
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}"
_REFERENCE: Final = re.compile(rf"secret:({_NAME})")
# Of what mail allows the part that needs no quoting: nothing in it can end a header or begin another address.
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_APPRISE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")

Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]


def reference(secret: SecretStr | None) -> str | None:
    """The name of the secret on record that `secret` stands for; None when it is a value itself."""
    found = _REFERENCE.fullmatch(secret.get_secret_value()) if secret else None
    return found.group(1) if found else None


def _fixed_url(url: str) -> str:
    """A channel's own address: https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return url
    raise ValueError("give an https URL (http only for this machine)")


def _secret_url(url: SecretStr) -> SecretStr:
    if not reference(url):
        _fixed_url(url.get_secret_value())
    return url


def _https(url: str) -> str:
    if urlsplit(url).scheme != "https" or len(url) > 2_000:
        raise ValueError("give an https URL of at most 2,000 characters")
    return url


def _mailbox(address: str) -> str:
    if not _MAILBOX.fullmatch(address) or len(address) > 254:
        raise ValueError("give a plain address such as oncall@example.com")
    return address


FixedUrl = Annotated[str, AfterValidator(_fixed_url)]
HttpsUrl = Annotated[str, AfterValidator(_https)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]


class Block(BaseModel):
    """A notifier by name. Two blocks are equal when their fields are; changing one means putting a new one.

    More than `storm` incidents that call it within a minute are told as one; None: each is always told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    kind: str
    storm: Annotated[int, Field(ge=1, le=1_000_000)] | None = 20
    updates: ClassVar[bool] = False
    """Whether it can be told of a change while the incident is open."""
    acknowledges: ClassVar[bool] = False
    """Whether it is told that somebody is at it, even if it takes no updates."""
    at_once: ClassVar[int] = 1
    """How many messages may be under way to it at the same time."""
    rate: ClassVar[Rate | None] = None
    """How often it may be spoken to; a field `per_minute` of the block goes before it."""


SLACK_WEBHOOK: Final = Rate(per_minute=60, burst=4)
"""One message a second in a channel, and four that come together go together."""

SLACK: Final = Rate(per_minute=50, burst=4)
"""A message may be changed fifty times a minute (tier 3), which is less than may be posted."""


class SlackWebhook(Block):
    """A Slack incoming webhook. Its URL is the credential; it posts, and can never change what it posted."""

    kind: Literal["slack-webhook"] = "slack-webhook"
    url: Annotated[SecretStr, AfterValidator(_secret_url)]
    rate: ClassVar[Rate | None] = SLACK_WEBHOOK


class Slack(Block):
    """A Slack channel through a bot token: one message an incident, updated in place, its story in the thread.

    Give the channel by its id (`C0123456789`): history, by which a post with a lost answer is found, knows no names.
    With `signing_secret` (presses come by HTTP) or `app_token` (Socket Mode) the message has buttons.
    """

    kind: Literal["slack"] = "slack"
    token: SecretStr
    channel: Annotated[str, Field(min_length=1, max_length=100)]
    signing_secret: SecretStr | None = None
    app_token: SecretStr | None = None
    api_url: FixedUrl = "https://slack.com/api/"
    updates: ClassVar[bool] = True
    rate: ClassVar[Rate | None] = SLACK

    @field_validator("token")
    @classmethod
    def _is_token(cls, token: SecretStr) -> SecretStr:
        if not token.get_secret_value().strip():
            raise ValueError("the bot token is empty; it begins with xoxb-")
        return token

    @field_validator("signing_secret", "app_token")
    @classmethod
    def _is_given(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not secret.get_secret_value().strip():
            raise ValueError("it is empty; leave it out, or give what the app's page Basic Information shows")
        return secret


def _is_key(key: SecretStr) -> SecretStr:
    length = len(key.get_secret_value())
    if length != ROUTING_KEY_LENGTH and not reference(key):
        raise ValueError(f"an Events v2 routing key has {ROUTING_KEY_LENGTH} characters, this has {length}")
    return key


RoutingKey = Annotated[SecretStr, AfterValidator(_is_key)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Links = Annotated[dict[Annotated[str, Field(min_length=1, max_length=200)], HttpsUrl], Field(max_length=LINKS)]


class PagerDuty(Block):
    """A PagerDuty service through Events API v2. `source` names what is watched, `client` who reports it.

    `links` (text: https URL) and `images` (https URLs) are shown beside every alert. With `webhook_secret`, that of a
    v3 webhook subscription (several: commas between), what people do in PagerDuty is done here too. `per_minute` is
    the routing key's limit.
    """

    kind: Literal["pagerduty"] = "pagerduty"
    routing_key: RoutingKey
    url: FixedUrl = "https://events.pagerduty.com"
    source: Annotated[str, Field(min_length=1, max_length=255)] = "tocsin"
    client: Annotated[str, Field(min_length=1, max_length=255)] = "tocsin"
    client_url: str | None = None
    links: Links = Field(default_factory=dict)
    images: Annotated[tuple[HttpsUrl, ...], Field(max_length=LINKS)] = ()
    webhook_secret: SecretStr | None = None
    per_minute: PerMinute = 120
    acknowledges: ClassVar[bool] = True
    at_once: ClassVar[int] = 8

    @field_validator("webhook_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < 16 and not reference(secret):
            raise ValueError("the secret of a webhook subscription has 16 characters or more")
        return secret


class PagerDutyChanges(Block):
    """The change events of a PagerDuty service: shown beside its incidents, and they page nobody.

    For news such as a deployment. A routing key that begins with `R` (an event orchestration's) takes none.
    """

    kind: Literal["pagerduty-changes"] = "pagerduty-changes"
    routing_key: RoutingKey
    url: FixedUrl = "https://events.pagerduty.com"
    source: Annotated[str, Field(min_length=1, max_length=255)] = "tocsin"
    links: Links = Field(default_factory=dict)
    per_minute: PerMinute = 120
    at_once: ClassVar[int] = 4

    @field_validator("routing_key")
    @classmethod
    def _takes_changes(cls, key: SecretStr) -> SecretStr:
        if key.get_secret_value().startswith("R"):
            raise ValueError("a routing key that begins with R takes no change events; give a service's own")
        return key


class Webhook(Block):
    """Any HTTP endpoint, signed by Standard Webhooks (`secret` as `whsec_<base64>`, 24 to 64 bytes).

    Private and loopback addresses are refused unless `allow_private` lists them: `host`, `host:port` or a network.
    """

    kind: Literal["webhook"] = "webhook"
    url: SecretStr
    secret: SecretStr
    allow_private: tuple[str, ...] = ()
    updates: ClassVar[bool] = True
    at_once: ClassVar[int] = 64

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        if reference(url):
            return url
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an http or https URL with a host")
        return url

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, secret: SecretStr) -> SecretStr:
        if reference(secret):
            return secret
        text = secret.get_secret_value().removeprefix("whsec_")
        try:
            size = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
        except binascii.Error as error:
            raise ValueError("a signing secret is whsec_ and base64") from error
        if not 24 <= size <= 64:
            raise ValueError(f"a signing secret holds 24 to 64 bytes, this holds {size}")
        return secret

    @field_validator("allow_private")
    @classmethod
    def _is_list(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        try:
            read_allow(lines)
        except Invalid as error:
            raise ValueError(str(error)) from error
        return lines


class Email(Block):
    """Mail through an SMTP server: one thread an incident.

    `tls`: `starttls` (port 587), `tls` from the first byte (port 465), or `none`, which sends no password except to
    this machine. Certificates are checked against the system's authorities, or those in `ca_file` (PEM).
    """

    kind: Literal["email"] = "email"
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str | None = None
    user: SecretStr | None = None
    password: SecretStr | None = None
    sender: Mailbox
    sender_name: Annotated[str, Field(max_length=100)] = "tocsin"
    recipients: Annotated[tuple[Mailbox, ...], Field(min_length=1, max_length=RECIPIENTS)]
    updates: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    at_once: ClassVar[int] = 2

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("give user and password, or neither")
        if self.tls == "none" and self.password is not None and not _is_here(self.host):
            raise ValueError("a password is not sent without TLS: give tls: starttls or tls")
        return self


class Apprise(Block):
    """Any service that Apprise knows, by its URL, which is the credential. Needs the extra `apprise`."""

    kind: Literal["apprise"] = "apprise"
    url: SecretStr
    at_once: ClassVar[int] = 1

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        if not reference(url) and not _APPRISE.fullmatch(url.get_secret_value()):
            raise ValueError("give a URL of Apprise, such as tgram://token/chat")
        return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


AnyBlock = SlackWebhook | Slack | PagerDuty | PagerDutyChanges | Webhook | Email | Apprise
KINDS: Final[dict[str, type[AnyBlock]]] = {
    "slack-webhook": SlackWebhook,
    "slack": Slack,
    "pagerduty": PagerDuty,
    "pagerduty-changes": PagerDutyChanges,
    "webhook": Webhook,
    "email": Email,
    "apprise": Apprise,
}


def split(block: AnyBlock) -> tuple[dict[str, Any], dict[str, str]]:
    """What may be shown of `block`, and its secrets in the clear; `join` puts them together. Any: JSON values."""
    fields = {name: getattr(block, name) for name in type(block).model_fields if name not in ("name", "kind")}
    hidden = {name: value.get_secret_value() for name, value in fields.items() if isinstance(value, SecretStr)}
    shown = {name: value for name, value in fields.items() if name not in hidden}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}, hidden


def join(name: str, kind: str, shown: dict[str, Any], hidden: dict[str, str]) -> AnyBlock:
    """The block that `split` took apart. Any: JSON values. Raises Invalid for what this version cannot read."""
    if kind not in KINDS:
        raise Invalid(f'notifier "{name}": unknown kind "{kind}"; known: {", ".join(sorted(KINDS))}')
    try:
        return KINDS[kind].model_validate({"name": name, **shown, **hidden})
    except ValidationError as error:  # its own text may show a secret
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors(include_input=False))
        raise Invalid(f'notifier "{name}": this version cannot read its {wrong}; put it again') from None
