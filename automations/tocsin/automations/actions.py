"""The actions of automations, as people write them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from tocsin.automations.secrets import keep
from tocsin.events.errors import Invalid
from tocsin.events.templates import check_value
from tocsin.notifiers.addresses import read_allow

# Any, below: parameters and payloads are whatever JSON their receiver wants; validators see what a person gave.

NOT_YET: Final = (
    "pause-deployment", "resume-deployment", "cancel-flow-run", "suspend-flow-run", "resume-flow-run",
    "change-flow-run-state", "delete-flow-run", "pause-automation", "resume-automation", "pause-work-pool",
    "resume-work-pool", "pause-work-queue", "resume-work-queue", "emit-event", "send-email-notification",
    "declare-incident",
)  # fmt: skip
"""Actions that Prefect knows, or that are planned, and that cannot be used yet."""

T = TypeVar("T")
Seconds = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=366))]


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RunDeployment(_Action):
    """Starts a run of a deployment: the named one, or (`inferred`) the one that the event is related to.

    `parameters` is an object with templates in it, or one template that gives an object. `schedule_after` counts from
    the event.
    """

    type: Literal["run-deployment"] = "run-deployment"
    source: Literal["selected", "inferred"] = "selected"
    deployment: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    parameters: dict[str, Any] | str = {}
    schedule_after: Seconds = timedelta(0)

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if given.get("job_variables"):
            raise ValueError("job_variables are not there yet; leave them out")
        return _renamed(given, "deployment_id", "deployment", drop=("job_variables",))

    @model_validator(mode="after")
    def _one_source(self) -> "RunDeployment":
        if self.source == "selected" and self.deployment is None:
            raise ValueError("name the deployment, or set source to inferred")
        if self.source == "inferred" and self.deployment is not None:
            raise ValueError("source inferred takes the deployment from the event; leave deployment out")
        return self

    @field_validator("parameters")
    @classmethod
    def _templates(cls, parameters: dict[str, Any] | str) -> dict[str, Any] | str:
        return _checked(parameters)


class RetryFlowRun(_Action):
    """Puts the failed flow run that the event is about back to work, at most `budget` times.

    The n-th retry comes `delay * factor**(n-1)` after the failure, at most `ceiling`. Completed tasks keep their
    results.
    """

    type: Literal["retry-flow-run"] = "retry-flow-run"
    budget: Annotated[int, Field(ge=1, le=1000)] = 3
    delay: Seconds = timedelta(seconds=10)
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    ceiling: Seconds = timedelta(hours=1)


class SendNotification(_Action):
    """Tells people through a notifier. One incident an episode: it is updated when the automation fires again and
    resolved, by itself, when `resolve_on` is met. Without `subject` or `body` the event is told in plain words.
    """

    type: Literal["send-notification"] = "send-notification"
    notifier: Annotated[str, Field(min_length=1, max_length=100)]
    subject: str | None = None
    body: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        return _renamed(given, "block_document_id", "notifier") if isinstance(given, Mapping) else given

    @field_validator("subject", "body")
    @classmethod
    def _templates(cls, text: str | None) -> str | None:
        return _checked(text)


class CallWebhook(_Action):
    """Posts `payload` as JSON to `url`, or to the address of a webhook notifier.

    The header `webhook-id` is the same at every attempt; with a `secret` (`whsec_…`) the request is signed as Standard
    Webhooks. Values of `headers` are secrets. Addresses of private networks are refused unless `allow_private` lists
    them (`host:port` or a network).
    """

    type: Literal["call-webhook"] = "call-webhook"
    url: str | None = None
    notifier: str | None = None
    payload: dict[str, Any] | list[Any] | str | None = None
    headers: dict[str, SecretStr] = {}
    secret: SecretStr | None = None
    allow_private: Annotated[Sequence[str], AfterValidator(tuple)] = ()

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        return _renamed(given, "block_document_id", "notifier") if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _one_address(self) -> "CallWebhook":
        if (self.url is None) == (self.notifier is None):
            raise ValueError("give either url or notifier")
        if self.notifier is not None and (self.secret is not None or self.allow_private):
            raise ValueError("secret and allow_private are the notifier's own; leave them out")
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
        return _checked(payload)

    @field_serializer("headers")
    def _kept_headers(self, headers: dict[str, SecretStr], info: SerializationInfo) -> dict[str, str]:
        return {name: keep(value, info.context) for name, value in headers.items()}

    @field_serializer("secret")
    def _kept_secret(self, secret: SecretStr | None, info: SerializationInfo) -> str | None:
        return None if secret is None else keep(secret, info.context)


class DoNothing(_Action):
    """Does nothing; its outcome is an event all the same."""

    type: Literal["do-nothing"] = "do-nothing"


def _known(given: Any) -> Any:
    if isinstance(given, Mapping) and given.get("type") in NOT_YET:
        raise ValueError(f"action {given['type']} is not there yet; there are: {', '.join(KNOWN)}")
    return given


Action = Annotated[
    Annotated[
        RunDeployment | RetryFlowRun | SendNotification | CallWebhook | DoNothing,
        Field(discriminator="type"),
    ],
    BeforeValidator(_known),
]
KNOWN: Final = ("run-deployment", "retry-flow-run", "send-notification", "call-webhook", "do-nothing")


def _renamed(given: Mapping[str, Any], theirs: str, ours: str, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """`given` with Prefect's field name `theirs` read as `ours`."""
    if given.get(theirs) is not None and given.get(ours) is not None:
        raise ValueError(f"{theirs} and {ours} are the same; give one")
    named = {name: value for name, value in given.items() if name not in (theirs, *drop)}
    return {**named, ours: given[theirs]} if given.get(theirs) is not None else named


def _checked(value: T) -> T:
    try:
        check_value(value)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return value
