"""Secrets inside automations: sealed wherever they are written down, masked wherever they are shown."""

from typing import Any, Final

from pydantic import SecretStr

from tocsin.store.secrets import seal, unseal

STORED: Final = {"secrets": "sealed"}
"""The serialisation context for the database."""

COMPARED: Final = {"secrets": "plain"}
"""The serialisation context for a digest that is never shown."""

MASK: Final = "*" * 10
"""What is shown of a secret. In a definition that is applied it stands for the one that is stored."""

_SEALED: Final = "sealed:"


def keep(secret: SecretStr, context: dict[str, Any] | None) -> str:
    """The secret as the context wants it: sealed, plain, or (without one) masked. Any: pydantic's context."""
    text = secret.get_secret_value()
    match (context or {}).get("secrets"):
        case "sealed":
            return text if text.startswith(_SEALED) else f"{_SEALED}{seal(text)}"
        case "plain":
            return text
    return MASK if text else ""


def reveal(text: str) -> str:
    """The secret behind what `keep` sealed; plain text stays. Raises `Invalid` without the key."""
    return unseal(text.removeprefix(_SEALED)) if text.startswith(_SEALED) else text
