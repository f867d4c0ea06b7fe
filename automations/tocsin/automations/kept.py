"""Secrets that a definition does not say: where it shows the mask, the one on record is kept.

A secret belongs to an address. Kept for another one it would be told to whoever answers there, so it is refused.
"""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import SecretStr

from tocsin.automations.actions import Action
from tocsin.automations.actions_messages import CallWebhook
from tocsin.automations.model import Automation
from tocsin.automations.secrets import MASK, reveal
from tocsin.events.errors import Invalid

_LISTS: Final = ("actions", "actions_on_trigger", "actions_on_resolve")

Place = tuple[str, int]
Held = dict[Place, CallWebhook]


def shows_mask(automation: Automation) -> bool:
    """Whether a secret in it reads as the mask."""
    return any(
        secret is not None and _hides(secret) for _, action in _webhooks(automation) for secret in _secrets(action)
    )


def keep_secrets(given: Automation, stored: Automation | None) -> Automation:
    """`given` with the secrets of `stored` where it shows the mask.

    Raises `Invalid` where nothing is stored for that address.
    """
    known = dict(_webhooks(stored)) if stored is not None else {}
    # Any: fields of actions
    changed: dict[str, Any] = {}
    for place, action in _webhooks(given):
        if (kept := _kept(given.name, place, action, known)) is not action:
            field, index = place
            listed: list[Action] = list(changed.get(field, getattr(given, field)))
            listed[index] = kept
            changed[field] = tuple(listed)
    return given.model_copy(update=changed) if changed else given


def _secrets(action: CallWebhook) -> tuple[SecretStr | None, ...]:
    return (*action.headers.values(), action.secret)


def _hides(secret: SecretStr) -> bool:
    return secret.get_secret_value() == MASK


def _webhooks(automation: Automation) -> Iterator[tuple[Place, CallWebhook]]:
    for field in _LISTS:
        for index, action in enumerate(getattr(automation, field)):
            if isinstance(action, CallWebhook):
                yield (field, index), action


def _kept(automation: str, place: Place, action: CallWebhook, known: Held) -> CallWebhook:
    changed: dict[str, Any] = {}  # Any: fields of actions
    for name in (name for name, value in action.headers.items() if _hides(value)):
        found = {where: one.headers[name] for where, one in _alike(action, known) if name in one.headers}
        changed.setdefault("headers", dict(action.headers))[name] = _one(automation, place, f"headers.{name}", found)
    if action.secret is not None and _hides(action.secret):
        secrets = {where: one.secret for where, one in _alike(action, known) if one.secret is not None}
        changed["secret"] = _one(automation, place, "secret", secrets)
    return action.model_copy(update=changed) if changed else action


def _alike(action: CallWebhook, known: Held) -> Iterator[tuple[Place, CallWebhook]]:
    address = action.url, action.notifier
    return ((place, one) for place, one in known.items() if (one.url, one.notifier) == address)


def _one(automation: str, place: Place, field: str, found: dict[Place, SecretStr]) -> SecretStr:
    """The secret of the action at the same place, else the only one there is."""
    texts = {where: reveal(secret.get_secret_value()) for where, secret in found.items()}
    if place in texts:
        return SecretStr(texts[place])
    if len(set(texts.values())) == 1:
        return SecretStr(next(iter(texts.values())))
    wrong = "several are stored" if texts else "none is stored"
    where = ".".join(map(str, (*place, field)))
    raise Invalid(
        f'automation "{automation}": {where}: {MASK} stands for the stored secret, and {wrong} for this address; '
        "write the secret itself"
    )
