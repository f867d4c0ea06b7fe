"""Actions that tell others: people by a notifier, programs by a webhook or an event."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from tocsin.automations.action import Step, checked, renamed
from tocsin.automations.secrets import keep
from tocsin.events.codec import OURS
from tocsin.events.errors import Invalid
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE
from tocsin.notifiers.addresses import read_allow

# Any, below: payloads are whatever JSON their receiver wants; validators see what a person gave.

Labels = dict[str, str]
_THEIRS: Final = "prefect.resource."


class SendNotification(Step):
    """Tells people: through a `notifier`, or by a `route`, which finds out whom by the labels and groups what comes.

    What it tells is updated when the automation fires again and resolved, by itself, when `resolve_on` is met. Without
    `subject` or `body` the event is told in plain words.
    """

    type: Literal["send-notification"] = "send-notification"
    notifier: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    route: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    subject: str | None = None
    body: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        return renamed(given, "block_document_id", "notifier") if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _one_way(self) -> "SendNotification":
        if (self.notifier is None) == (self.route is None):
            raise ValueError("give either notifier or route")
        return self

    @property
    def target(self) -> str:
        """Whom it goes to, in one word."""
        return self.notifier or f"route/{self.route}"

    @field_validator("subject", "body")
    @classmethod
    def _templates(cls, text: str | None) -> str | None:
        return checked(text)


class CallWebhook(Step):
    """Posts `payload` as JSON to `url`, or to the address of a webhook notifier.

    The header `webhook-id` is the same at every attempt; with a `secret` (`whsec_…`) the request is signed as Standard
    Webhooks. Values of `headers` are secrets. Addresses of private networks are refused unless `allow_private` lists
    them (`host:port` or a network). With `cloudevent` the event is sent as a CloudEvent in place of a payload.
    """

    type: Literal["call-webhook"] = "call-webhook"
    url: str | None = None
    notifier: str | None = None
    payload: dict[str, Any] | list[Any] | str | None = None
    cloudevent: Literal["structured", "binary"] | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    secret: SecretStr | None = None
    allow_private: Annotated[Sequence[str], AfterValidator(tuple)] = ()

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        return renamed(given, "block_document_id", "notifier") if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _one_address(self) -> "CallWebhook":
        if (self.url is None) == (self.notifier is None):
            raise ValueError("give either url or notifier")
        if self.notifier is not None and (self.secret is not None or self.allow_private):
            raise ValueError("secret and allow_private are the notifier's own; leave them out")
        return self

    @model_validator(mode="after")
    def _one_body(self) -> "CallWebhook":
        if self.cloudevent is None:
            return self
        if self.payload is not None:
            raise ValueError("give either payload or cloudevent; a CloudEvent's data is the event's own payload")
        for name in self.headers:
            if name.lower() == "content-type" or name.lower().startswith("ce-"):
                raise ValueError(f'the header "{name}" is the CloudEvent\'s own; leave it out')
        return self

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an http or https URL with a host")
        if "@" in parts.netloc:
            raise ValueError("a URL is shown; put the password into headers, which are kept secret")
        return url

    @field_validator("allow_private")
    @classmethod
    def _is_list(cls, lines: Sequence[str]) -> Sequence[str]:
        try:
            read_allow(tuple(lines))
        except Invalid as error:
            raise ValueError(str(error)) from error
        return lines

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not name.isascii() or any(sign in name + value.get_secret_value() for sign in "\r\n\0"):
                raise ValueError(f'"{name}" is no header')
        return headers

    @field_validator("payload")
    @classmethod
    def _templates(cls, payload: dict[str, Any] | list[Any] | str | None) -> dict[str, Any] | list[Any] | str | None:
        return checked(payload)

    @field_serializer("headers")
    def _kept_headers(self, headers: dict[str, SecretStr], info: SerializationInfo) -> dict[str, str]:
        return {name: keep(value, info.context) for name, value in headers.items()}

    @field_serializer("secret")
    def _kept_secret(self, secret: SecretStr | None, info: SerializationInfo) -> str | None:
        return None if secret is None else keep(secret, info.context)


class EmitEvent(Step):
    """Writes an event to the log; other automations, and this one's own resolve, may act on it.

    `event` is its name, `resource` its labels (default: those by which the firing's own is known), `related` more of
    them, each with a role. All may hold templates.
    """

    type: Literal["emit-event"] = "emit-event"
    event: Annotated[str, Field(min_length=1, max_length=1_000)]
    resource: Labels | None = None
    related: Annotated[Sequence[Labels], AfterValidator(tuple)] = ()
    payload: dict[str, Any] | str = Field(default_factory=dict)

    @field_validator("event")
    @classmethod
    def _not_ours(cls, event: str) -> str:
        if event.startswith(OURS):
            raise ValueError(f"names that begin with {OURS} are tocsin's own; choose another, such as orders.late")
        return checked(event)

    @field_validator("resource")
    @classmethod
    def _has_an_id(cls, resource: Labels | None) -> Labels | None:
        return None if resource is None else _labels(resource, RESOURCE_ID)

    @field_validator("related")
    @classmethod
    def _have_roles(cls, related: Sequence[Labels]) -> Sequence[Labels]:
        return tuple(_labels(labels, RESOURCE_ID, RESOURCE_ROLE) for labels in related)

    @field_validator("payload")
    @classmethod
    def _templates(cls, payload: dict[str, Any] | str) -> dict[str, Any] | str:
        return checked(payload)


def _labels(given: Labels, *required: str) -> Labels:
    """The labels by our names, their templates checked."""
    ours = {
        f"tocsin.resource.{name.removeprefix(_THEIRS)}" if name.startswith(_THEIRS) else name: text
        for name, text in given.items()
    }
    for name in required:
        if not ours.get(name):
            raise ValueError(f"the label {name} is missing or empty")
    return checked(ours)
