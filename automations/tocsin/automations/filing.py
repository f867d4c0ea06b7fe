"""Where in the index an interest is filed: what can be looked up of it, and what is left to ask of the events found.

interest ──▶ claims: each a list of (facet, text), one of which an event of interest has
         ──▶ places: one choice of each claim, in every combination; an event that meets the interest is at one
         ──▶ rung: a number to compare, found by bisection
         ──▶ residue: negations, other patterns, further related resources, the rest of the condition
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from tocsin.automations.ladders import Rung, rung
from tocsin.automations.residual import Residue, Specification
from tocsin.automations.shapes import Facet, Place, Shape, Source, row
from tocsin.events.jmes.expression import Expression
from tocsin.events.labels import Patterns, exact_or_prefix
from tocsin.triggers.interest import Interest

MOST_PLACES: Final = 1_024

Choice = tuple[Facet, str]


@dataclass(frozen=True)
class Filing:
    """Where an interest is filed. No places: no event can meet it."""

    places: tuple[Place, ...]
    rung: Rung | None
    residue: Residue


@dataclass(frozen=True, eq=False)
class _Claim:
    """What is wanted of one label, or of one path: any of `choices`."""

    label: str
    choices: tuple[Choice, ...]


def filing(interest: Interest) -> Filing:
    """Where `interest` is filed, its event names left aside."""
    own = _claims("label", interest.match)
    specifications = tuple(specification for specification in interest.specifications if specification)
    best, related = _best_related(specifications)
    demanded = _demanded(interest.where, taken={claim.label for claim in own})
    chosen = _affordable([*own, *related, *demanded])
    bounds = interest.where.bounds if interest.where is not None else ()
    step = rung(bounds)
    residue = Residue(
        _left(interest.match, own, chosen),
        tuple(one for one in specifications if one is not best or _left(one, related, chosen)),
        _left_to_ask(interest.where, sum(claim in chosen for claim in demanded), step),
    )
    return Filing(tuple(_places(chosen)), step, residue)


def uncovered(patterns: Sequence[str]) -> tuple[str, ...]:
    """Exact texts and `prefix*` without those that another prefix of `patterns` covers, sorted."""
    if len(patterns) == 1:
        return tuple(patterns)
    prefixes: list[str] = []
    for prefix in sorted({pattern[:-1] for pattern in patterns if pattern.endswith("*")}):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    covering, lengths = frozenset(prefixes), {len(prefix) for prefix in prefixes}
    texts = {
        text for text in patterns if not text.endswith("*") and not any(text[:length] in covering for length in lengths)
    }
    return (*sorted(texts), *(f"{prefix}*" for prefix in prefixes))


def _claims(source: Source, specification: Specification) -> list[_Claim]:
    """What can be looked up of a specification."""
    return [
        _Claim(label, choices)
        for label, patterns in specification.items()
        if (choices := _choices(source, label, patterns)) is not None
    ]


def _choices(source: Source, label: str, patterns: Patterns) -> tuple[Choice, ...] | None:
    """What a label may be; None when a pattern is a negation, a glob that is no prefix, or any text."""
    listed = (patterns,) if isinstance(patterns, str) else patterns
    for pattern in listed:
        if pattern == "*" or not exact_or_prefix(pattern):
            return None
    return tuple([_choice(source, label, pattern) for pattern in uncovered(listed)])


def _choice(source: Source, label: str, pattern: str) -> Choice:
    if not pattern.endswith("*"):
        return Facet(source, (label,)), pattern
    return Facet(source, (label,), len(pattern) - 1), pattern[:-1]


def _best_related(specifications: Sequence[Specification]) -> tuple[Specification, list[_Claim]]:
    """The specification of which most labels can be looked up, and what is wanted of them."""
    claimed = [(specification, _claims("related", specification)) for specification in specifications]
    return max(claimed, key=lambda claims: len(claims[1]), default=({}, []))


def _demanded(where: Expression | None, taken: set[str]) -> list[_Claim]:
    """What the condition demands to be equal to a text, of labels only those that are not `taken` already."""
    claims: list[_Claim] = []
    for demand in where.demands if where is not None else ():
        facet = _facet(demand.path)
        if facet is None or (facet.source == "label" and facet.path[0] in taken):
            continue
        if any(claim.choices and claim.choices[0][0] == facet for claim in claims):
            continue
        claims.append(_Claim("", tuple((facet, value) for value in dict.fromkeys(demand.values))))
    return claims


def _facet(path: tuple[str, ...]) -> Facet | None:
    """The text of an event at a path of the condition's document, if the index can read it."""
    match path:
        case ("event",):
            return Facet("name", ())
        case ("resource", label):
            return Facet("label", (label,))
        case ("payload", *names) if names:
            return Facet("payload", tuple(names))
        case _:
            return None


def _affordable(claims: list[_Claim]) -> list[_Claim]:
    """As many of the claims as make no more than `MOST_PLACES` places, the narrowest first; one at least."""
    chosen: list[_Claim] = []
    places = 1
    for claim in sorted(claims, key=lambda claim: len(claim.choices)):
        places *= len(claim.choices)
        if chosen and places > MOST_PLACES:
            break
        chosen.append(claim)
    return chosen


def _places(claims: Iterable[_Claim]) -> Iterable[Place]:
    for choices in product(*(claim.choices for claim in claims)):
        own = sorted(choice for choice in choices if choice[0].source != "related")
        related = sorted(choice for choice in choices if choice[0].source == "related")
        shape = Shape(tuple(facet for facet, _ in own), tuple(facet for facet, _ in related))
        yield Place(shape, row([text for _, text in own]), row([text for _, text in related]))


def _left(specification: Specification, claims: Iterable[_Claim], chosen: Sequence[_Claim]) -> Specification:
    """What of `specification` no chosen claim answers for."""
    answered = {claim.label for claim in claims if claim in chosen}
    return {label: patterns for label, patterns in specification.items() if label not in answered}


def _left_to_ask(where: Expression | None, answered: int, step: Rung | None) -> Expression | None:
    """The rest of the condition when the places answer all its demands and the rung its bounds, else the whole."""
    if where is None:
        return None
    all_answered = answered == len(where.demands) and len(where.bounds) == (step.answers if step else 0)
    return where.rest if all_answered else where
