"""Automation: when these events happen, do that; and when it is over, say so."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tocsin.automations.action import checked as checked_texts
from tocsin.automations.actions import Action, SendNotification
from tocsin.automations.endings import checked, closer, opposite
from tocsin.events.templates import names_in
from tocsin.triggers import tree
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.kinds import Trigger

_PREFECT_EXPORTS: Final = ("id", "created", "updated", "account", "workspace", "owner_resource")

_OF_THE_KEY: Final = frozenset({"automation", "labels"})

Actions = Annotated[Sequence[Action], AfterValidator(tuple)]
Severity = Literal["critical", "error", "warning", "info"]


class Automation(BaseModel):
    """A rule by name. `actions` and `actions_on_trigger` run when the trigger fires.

    With `resolve_on` a firing stays open, under its key, until that trigger is met: then `actions_on_resolve` run, and
    whoever was told by a SendNotification is told that it is over. `resolve_on` takes the key from its own `for_each`,
    else from the trigger's; "opposite" stands for the same trigger with the other posture: what was missed has come, or
    what came too often stays away. A metric trigger needs none: it says by itself when it is over.

    What it tells people carries `severity` and `labels`, by which routes, silences and inhibitions know it; what has
    the same `dedup_key` is one thing to them (default: automation and key). Both may hold templates; the dedup key sees
    `labels` (of `for_each`) and `automation.name` only.

    More than `rate_limit` firings within a minute pause the automation (none: no limit).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s/][^\x00-\x1f/]*$")]
    trigger: Trigger
    actions: Actions = ()
    actions_on_trigger: Actions = ()
    actions_on_resolve: Actions = ()
    resolve_on: EventTrigger | Literal["opposite"] | None = None
    description: str = ""
    enabled: bool = True
    tags: Annotated[Sequence[str], AfterValidator(tuple)] = ()
    severity: Severity = "error"
    labels: Annotated[dict[str, str], AfterValidator(checked_texts)] = {}
    dedup_key: Annotated[str, Field(max_length=1_000), AfterValidator(checked_texts)] | None = None
    rate_limit: Annotated[int, Field(ge=1)] | None = 60_000

    @model_validator(mode="before")
    @classmethod
    def _exported(cls, given: Any) -> Any:  # Any: what a person or a document gave
        if not isinstance(given, Mapping):
            return given
        if given.get("description", "") is None:
            given = {**given, "description": ""}
        return {name: value for name, value in given.items() if name not in _PREFECT_EXPORTS}

    @model_validator(mode="after")
    def _resolvable(self) -> "Automation":
        if not self.lasting and self.actions_on_resolve:
            raise ValueError("actions_on_resolve never run without resolve_on")
        if self.ending is None:
            return self
        own = len(self.ending.for_each)
        if own and own != len(self.key_labels):
            raise ValueError("resolve_on.for_each must name as many labels as trigger.for_each: they make the same key")
        return self

    @model_validator(mode="after")
    def _same_to_the_end(self) -> "Automation":
        others = names_in(self.dedup_key or "") - _OF_THE_KEY
        if others:
            raise ValueError(
                f"dedup_key: {', '.join(sorted(others))} may be another when it is over; use automation.name and the "
                "labels of for_each (labels.host)"
            )
        return self

    @field_validator("resolve_on")
    @classmethod
    def _ends(cls, resolve_on: EventTrigger | Literal["opposite"] | None) -> EventTrigger | Literal["opposite"] | None:
        return checked(resolve_on) if isinstance(resolve_on, EventTrigger) else resolve_on

    @cached_property
    def ending(self) -> EventTrigger | None:
        """The trigger that ends what it fired for; None where there is none, or a metric that tells by itself.

        Raises ValueError when an opposite is asked for and there is none.
        """
        return opposite(self.trigger) if self.resolve_on == "opposite" else self.resolve_on

    @cached_property
    def closer(self) -> EventTrigger | None:
        """`ending`, where an open episode has to remember something of it."""
        return None if self.ending is None else closer(self.ending)

    @cached_property
    def closes(self) -> str:
        """What tells how an open episode counts towards its end from any other way; "": it counts nothing."""
        return "" if self.closer is None else self.closer.fingerprint

    @property
    def lasting(self) -> bool:
        """Whether a firing stays open until it is resolved: by `resolve_on`, or by a metric that is fine again."""
        return self.resolve_on is not None or self.trigger.type == "metric"

    @cached_property
    def remembers(self) -> bool:
        """Whether anything has to be known of the past to decide."""
        return self.lasting or not tree.stateless(self.trigger)

    @cached_property
    def at_once(self) -> bool:
        """Whether each event that concerns it is a firing, whatever came before."""
        return self.trigger.type == "event" and not self.remembers

    @cached_property
    def key_labels(self) -> tuple[str, ...]:
        """The labels that make the key, of the event or of related resources."""
        return tree.key_labels(self.trigger)

    @cached_property
    def resolve_labels(self) -> tuple[str, ...]:
        """The labels from which a resolving event's key is made."""
        own = tuple(self.ending.for_each) if self.ending else ()
        return own or self.key_labels

    @cached_property
    def fingerprint(self) -> str:
        """Short text that tells what this automation counts from what any other definition would."""
        return tree.fingerprint(self.trigger)

    @cached_property
    def hears_of_the_end(self) -> frozenset[str]:
        """The targets that are told when it is over."""
        ended = (one.target for one in self.actions_on_resolve if isinstance(one, SendNotification))
        return frozenset({*ended, *(one.target for one in self.told)})

    @property
    def on_trigger(self) -> tuple[Action, ...]:
        """What is done when it fires, in order."""
        return (*self.actions, *self.actions_on_trigger)

    @property
    def told(self) -> tuple[SendNotification, ...]:
        """The notifications that a firing sends."""
        return tuple(action for action in self.on_trigger if isinstance(action, SendNotification))


def identity_context(automation: Automation, labels: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON for templates
    """What the template `dedup_key` sees."""
    return {"automation": {"name": automation.name}, "labels": dict(labels)}
