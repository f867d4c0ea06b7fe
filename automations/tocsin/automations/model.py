"""Automation: when these events happen, do that; and when it is over, say so."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tocsin.automations.actions import Action, SendNotification
from tocsin.triggers.event import EventTrigger

_PREFECT_EXPORTS: Final = ("id", "created", "updated", "account", "workspace", "owner_resource")

Actions = Annotated[Sequence[Action], AfterValidator(tuple)]
Severity = Literal["critical", "error", "warning", "info"]


class Automation(BaseModel):
    """A rule by name. `actions` and `actions_on_trigger` run when the trigger fires.

    With `resolve_on` a firing stays open, under its key, until an event meets that trigger: then `actions_on_resolve`
    run, and whoever was told by a SendNotification is told that it is over. `resolve_on` takes the key from its own
    `for_each`, else from the trigger's. `rate_limit`: one that fires more often within a minute is switched off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s/][^\x00-\x1f/]*$")]
    trigger: EventTrigger
    actions: Actions = ()
    actions_on_trigger: Actions = ()
    actions_on_resolve: Actions = ()
    resolve_on: EventTrigger | None = None
    description: str = ""
    enabled: bool = True
    tags: Annotated[Sequence[str], AfterValidator(tuple)] = ()
    severity: Severity = "error"
    rate_limit: Annotated[int, Field(ge=1)] | None = 1_000

    @model_validator(mode="before")
    @classmethod
    def _exported(cls, given: Any) -> Any:  # Any: what a person or a document gave
        if not isinstance(given, Mapping):
            return given
        if given.get("description", "") is None:
            given = {**given, "description": ""}
        return {name: value for name, value in given.items() if name not in _PREFECT_EXPORTS}

    @field_validator("resolve_on")
    @classmethod
    def _at_once(cls, resolve_on: EventTrigger | None) -> EventTrigger | None:
        if resolve_on is not None and resolve_on.threshold != 1:
            raise ValueError("one event resolves; leave threshold out")
        return resolve_on

    @model_validator(mode="after")
    def _resolvable(self) -> "Automation":
        if self.resolve_on is None:
            if self.actions_on_resolve:
                raise ValueError("actions_on_resolve never run without resolve_on")
            return self
        own = len(self.resolve_on.for_each)
        if own and own != len(self.trigger.for_each):
            raise ValueError("resolve_on.for_each must name as many labels as trigger.for_each: they make the same key")
        return self

    @property
    def resolve_labels(self) -> tuple[str, ...]:
        """The labels from which a resolving event's key is made."""
        own = tuple(self.resolve_on.for_each) if self.resolve_on else ()
        return own or tuple(self.trigger.for_each)

    @property
    def on_trigger(self) -> tuple[Action, ...]:
        """What is done when it fires, in order."""
        return (*self.actions, *self.actions_on_trigger)

    @property
    def told(self) -> tuple[SendNotification, ...]:
        """The notifications that a firing sends."""
        return tuple(action for action in self.on_trigger if isinstance(action, SendNotification))
