"""What an apply would change, field by field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from tocsin.automations.forms import whole
from tocsin.automations.model import Automation
from tocsin.automations.secrets import MASK, reveal

# Any, in this file: fields of definitions.

ABSENT: Final = "(none)"
"""What a field reads on the side that does not have it."""


@dataclass(frozen=True)
class Difference:
    """One field that is not what it was, by its path in the document. A secret is shown as its mask on both sides."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class _Hidden:
    """A secret that can be compared and not read."""

    text: str

    def __repr__(self) -> str:
        return MASK


def differences(before: Automation, after: Automation) -> list[Difference]:
    """The fields in which two definitions differ, in the order of the document.

    Whether it is enabled counts only where `after` says it: an apply that does not leaves it as it is.
    """
    unsaid = set() if "enabled" in after.model_fields_set else {"enabled"}
    old, new = (_without(whole(one, _hidden), unsaid) for one in (before, after))
    return [Difference(path, _shown(left), _shown(right)) for path, left, right in _compare(old, new, "")]


def _without(form: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in form.items() if name not in names}


# Sealing gives another text each time, so what is compared is the secret itself.
def _hidden(secret: SecretStr) -> _Hidden | str:
    text = reveal(secret.get_secret_value())
    return _Hidden(text) if text else ""


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    match old, new:
        case dict(), dict():
            for name in [*old, *(name for name in new if name not in old)]:
                yield from _compare(old.get(name, ABSENT), new.get(name, ABSENT), f"{path}.{name}" if path else name)
        case list(), list() if _nested(old) or _nested(new):
            for index in range(max(len(old), len(new))):
                left, right = (side[index] if index < len(side) else ABSENT for side in (old, new))
                yield from _compare(left, right, f"{path}.{index}")
        case _ if old != new:
            yield path, old, new


def _nested(values: list[Any]) -> bool:
    return any(isinstance(value, dict) for value in values)


def _shown(value: Any) -> Any:
    match value:
        case _Hidden():
            return MASK
        case dict():
            return {name: _shown(one) for name, one in value.items()}
        case list():
            return [_shown(one) for one in value]
        case _:
            return value
