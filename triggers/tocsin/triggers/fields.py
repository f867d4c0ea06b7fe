"""The words that triggers share for which events they mean, as they are read: Prefect's are read as ours, too.

label names                        prefect.resource.id       tocsin.resource.id     (events' are read so as well)
event names                        prefect.x                 prefect.x or tocsin.x
patterns of a resource id          prefect.x.*               tocsin.x.* or prefect.x.*
negated ones                       !prefect.x.*              !tocsin.x.*            ("any of" cannot say "neither")
"""

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from tocsin.events.errors import Invalid
from tocsin.events.jmes.expression import check
from tocsin.events.model import RESOURCE_ID

WITHIN_CAP: Final = timedelta(days=366)

_PREFECT: Final = "prefect."
_OURS: Final = "tocsin."
_RELATED: Final = "related:"

# Any, below: what a person or a document gave, before it is checked.


def _names(value: Any) -> Any:
    """One name, or several in any order, as a sorted tuple without repeats; Prefect's together with ours."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value):
        return tuple(sorted({form for name in value for form in (name, _ours(name))}))
    return value


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not name or any(sign in name for sign in "?[!"):
            raise ValueError(f'"{name}": an event name is exact or holds *; ?, [ and ! have no meaning in it')
    return tuple(names)


def _ordered(value: Any) -> Any:
    """Labels as a tuple: in their order, a set sorted."""
    if isinstance(value, set | frozenset):
        value = sorted(value)
    return tuple(value) if isinstance(value, list) else value


def _specifications(value: Any) -> Any:
    """One specification or a list of them, as a tuple; an empty one asks for nothing and is dropped."""
    if isinstance(value, Mapping):
        value = (value,)
    return tuple(one for one in value if one != {}) if isinstance(value, list | tuple) else value


def _ours(name: str) -> str:
    return f"{_OURS}{name.removeprefix(_PREFECT)}" if name.startswith(_PREFECT) else name


def _id_forms(pattern: str) -> tuple[str, ...]:
    """What `pattern` means of a resource id: Prefect's also ours, first; negated, ours only."""
    if pattern.startswith("!"):
        return (f"!{_ours(pattern[1:])}",)
    return (_ours(pattern), pattern)


def _ids(patterns: str | list[str]) -> str | list[str]:
    """`patterns` of a resource id in all their forms, each once."""
    given = [patterns] if isinstance(patterns, str) else patterns
    forms = list(dict.fromkeys(form for pattern in given for form in _id_forms(pattern)))
    return forms[0] if isinstance(patterns, str) and len(forms) == 1 else forms


def _our_patterns(specification: "Patterns") -> "Patterns":
    """`specification` with our label names, and the resource ids that it asks for in both forms."""
    named = {_ours(label): patterns for label, patterns in specification.items()}
    if (ids := named.get(RESOURCE_ID)) is not None:
        named[RESOURCE_ID] = _ids(ids)
    return named


def _all_our_patterns(specifications: Sequence["Patterns"]) -> tuple["Patterns", ...]:
    return tuple(map(_our_patterns, specifications))


def _our_key(label: str) -> str:
    if not label.startswith(_RELATED):
        return _ours(label)
    if label.count(":") < 2:
        raise ValueError(f'"{label}": write related:<role>:<label>')
    _, role, name = label.split(":", 2)
    return f"{_RELATED}{role}:{_ours(name)}"


def _our_keys(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(_our_key, labels))


def _readable(text: str | None) -> str | None:
    """The text of an expression that can be evaluated; blank text asks for nothing."""
    if text is None or not text.strip():
        return None
    try:
        return check(text.strip()).text
    except Invalid as error:
        raise ValueError(str(error)) from error


Patterns = Mapping[str, str | list[str]]
Match = Annotated[Patterns, AfterValidator(_our_patterns)]
Related = Annotated[Patterns | Sequence[Patterns], BeforeValidator(_specifications), AfterValidator(_all_our_patterns)]
Names = Annotated[Sequence[str] | Set[str], BeforeValidator(_names), AfterValidator(_plain)]
Labels = Annotated[Sequence[str] | Set[str], BeforeValidator(_ordered), AfterValidator(_our_keys)]
Where = Annotated[str | None, AfterValidator(_readable)]
Span = Annotated[timedelta, Field(ge=timedelta(0), le=WITHIN_CAP)]
