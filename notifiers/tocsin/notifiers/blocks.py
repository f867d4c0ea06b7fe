"""Notifier blocks: how people say whom to tell, and where. Secrets are `SecretStr` and never shown."""

import base64
import binascii
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tocsin.events.errors import Invalid
from tocsin.notifiers.addresses import read_allow

ROUTING_KEY_LENGTH = 32
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]


def _fixed_url(url: str) -> str:
    """A channel's own address: https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return url
    raise ValueError("give an https URL (http only for this machine)")


def _secret_url(url: SecretStr) -> SecretStr:
    _fixed_url(url.get_secret_value())
    return url


FixedUrl = Annotated[str, AfterValidator(_fixed_url)]


class Block(BaseModel):
    """A notifier by name. Two blocks are equal when their fields are; changing one means putting a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    kind: str
    updates: ClassVar[bool] = False
    """Whether it can be told of a change while the incident is open."""
    at_once: ClassVar[int] = 1
    """How many messages may be under way to it at the same time."""


class SlackWebhook(Block):
    """A Slack incoming webhook. Its URL is the credential; it posts, and can never change what it posted."""

    kind: Literal["slack-webhook"] = "slack-webhook"
    url: Annotated[SecretStr, AfterValidator(_secret_url)]


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


class PagerDuty(Block):
    """A PagerDuty service through Events API v2. `source` names what is watched, `client` who reports it."""

    kind: Literal["pagerduty"] = "pagerduty"
    routing_key: SecretStr
    url: FixedUrl = "https://events.pagerduty.com"
    source: Annotated[str, Field(min_length=1, max_length=255)] = "tocsin"
    client: Annotated[str, Field(min_length=1, max_length=255)] = "tocsin"
    client_url: str | None = None
    at_once: ClassVar[int] = 8

    @field_validator("routing_key")
    @classmethod
    def _is_key(cls, key: SecretStr) -> SecretStr:
        length = len(key.get_secret_value())
        if length != ROUTING_KEY_LENGTH:
            raise ValueError(f"an Events v2 routing key has {ROUTING_KEY_LENGTH} characters, this has {length}")
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
    at_once: ClassVar[int] = 8

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an http or https URL with a host")
        return url

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, secret: SecretStr) -> SecretStr:
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


AnyBlock = SlackWebhook | Slack | PagerDuty | Webhook
KINDS: dict[str, type[AnyBlock]] = {
    "slack-webhook": SlackWebhook,
    "slack": Slack,
    "pagerduty": PagerDuty,
    "webhook": Webhook,
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
