"""Hooks as people define them: who may post there, and which event a post is."""

import base64
import binascii
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic import model_validator as validated

from tocsin.events import codec
from tocsin.events.errors import Invalid
from tocsin.triggers.mapping import Mapping

# Any, in this file: JSON, before it is checked.

MASK: Final = "*" * 10
"""What a secret is shown as."""

MAX_BYTES: Final = 25_000_000
SHORTEST: Final = 16
"""Characters of a secret that people choose themselves."""

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,98}$"


def _several(given: Any) -> Any:
    return (given,) if isinstance(given, str | SecretStr) else given


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_several), Field(min_length=1, max_length=5)]
"""One secret, or several while they are being changed: each of them is good."""


class Verification(BaseModel):
    """How it is known that a post comes from who it says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    shortest: ClassVar[int] = 1

    kind: str
    secret: Secrets

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            text = secret.get_secret_value()
            if len(text) < cls.shortest and text != MASK:
                raise ValueError(f"a secret has {cls.shortest} characters or more, this has {len(text)}")
            if not (text.isascii() and text.isprintable()) or text != text.strip():
                raise ValueError("a secret is printable ASCII, without white space around it")
        return secrets

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets in the clear."""
        return tuple(secret.get_secret_value() for secret in self.secret)


class StandardWebhook(Verification):
    """Standard Webhooks: `webhook-signature` over id, time and body. `secret`: `whsec_` and base64."""

    kind: Literal["standard-webhooks"] = "standard-webhooks"
    tolerance_s: int = Field(default=300, ge=1, le=3600)
    """How far the sender's time may be from ours."""

    @field_validator("secret")
    @classmethod
    def _base64(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for text in (secret.get_secret_value().removeprefix("whsec_") for secret in secrets):
            if text == MASK:
                continue
            try:
                size = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
            except binascii.Error as error:
                raise ValueError("a signing secret is whsec_ and base64") from error
            if not 24 <= size <= 64:
                raise ValueError(f"a signing secret holds 24 to 64 bytes, this holds {size}")
        return secrets


class SlackSignature(Verification):
    """Slack's `X-Slack-Signature` (v0) over time and body; `secret` is the app's signing secret."""

    shortest: ClassVar[int] = SHORTEST

    kind: Literal["slack"] = "slack"
    tolerance_s: int = Field(default=300, ge=1, le=3600)
    """How far the sender's time may be from ours."""


class PagerDutySignature(Verification):
    """PagerDuty's `X-PagerDuty-Signature` (v3 webhooks) over the body; `secret` is that of the subscription."""

    shortest: ClassVar[int] = SHORTEST

    kind: Literal["pagerduty"] = "pagerduty"


class GitHubSignature(Verification):
    """GitHub's `X-Hub-Signature-256` over the body."""

    shortest: ClassVar[int] = SHORTEST

    kind: Literal["github"] = "github"


class SharedSecret(Verification):
    """The secret itself, as `Authorization: Bearer <secret>` or in a `header` of its own."""

    shortest: ClassVar[int] = SHORTEST

    kind: Literal["shared-secret"] = "shared-secret"
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] | None = None


AnyVerification = StandardWebhook | SlackSignature | PagerDutySignature | GitHubSignature | SharedSecret


class Hook(BaseModel):
    """A way in over HTTP: what is posted to `/api/hooks/<name>` becomes an event, as `mapping` says.

    Exactly one of `verify` and `insecure`. `same_body_s`: where a sender gives no id, a body that is the same within so
    many seconds is the same event (0: each post is one of its own).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=NAME)]
    mapping: Mapping
    verify: Annotated[AnyVerification, Field(discriminator="kind")] | None = None
    insecure: bool = False
    """Anybody who can reach the server may post here."""
    per_minute: int = Field(default=600, ge=1, le=100_000)
    max_bytes: int = Field(default=codec.MAX_BYTES, ge=1, le=MAX_BYTES)
    same_body_s: int = Field(default=0, ge=0, le=86_400)

    @field_validator("name")
    @classmethod
    def _not_ours(cls, name: str) -> str:
        if name.startswith(codec.OURS):
            raise ValueError(f"names that begin with {codec.OURS!r} are kept for tocsin itself")
        return name

    @validated(mode="after")
    def _one_way(self) -> Self:
        if (self.verify is None) is not self.insecure:
            raise ValueError("say how posts are verified (`verify`), or that they are not (`insecure: true`), not both")
        return self

    @property
    def verified_by(self) -> str:
        """The kind of verification, or `insecure`."""
        return self.verify.kind if self.verify else "insecure"


def hook_from(document: Any, source: str = "hook") -> Hook:
    """The hook that a JSON object describes. Raises `Invalid` with each field and the reason."""
    try:
        return Hook.model_validate(document)
    except ValidationError as error:
        name = f' "{document["name"]}"' if isinstance(document, dict) and isinstance(document.get("name"), str) else ""
        said = "; ".join(f"{'.'.join(map(str, flaw['loc'])) or 'hook'}: {flaw['msg']}" for flaw in error.errors())
        raise Invalid(f"{source}: hook{name}: {said}") from error


def split(hook: Hook) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What may be shown of `hook` (JSON, its secrets masked), and the secrets; `join` puts them together."""
    return hook.model_dump(mode="json"), hook.verify.secrets if hook.verify else ()


def join(shown: dict[str, Any], secrets: tuple[str, ...]) -> Hook:
    """The hook that `split` took apart."""
    if shown["verify"] is None:
        return Hook.model_validate(shown)
    return Hook.model_validate({**shown, "verify": {**shown["verify"], "secret": secrets}})


def masked(hook: Hook) -> bool:
    """Whether its secrets are only shown, and not given. Raises `Invalid` when some are and some are not."""
    secrets = hook.verify.secrets if hook.verify else ()
    if MASK in secrets and set(secrets) != {MASK}:
        raise Invalid(f'hook "{hook.name}": {MASK} is how a secret is shown; give every secret, or leave all as shown')
    return MASK in secrets
