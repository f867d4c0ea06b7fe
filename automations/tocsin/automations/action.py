"""What all actions have in common: strict fields, checked templates, Prefect's names for ours."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tocsin.events.errors import Invalid
from tocsin.events.templates import check_value

# Any, below: validators see what a person gave.

T = TypeVar("T")
Seconds = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=366))]
Name = Annotated[str, Field(min_length=1, max_length=300)]


class Step(BaseModel):
    """One action: frozen, and no field that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Chosen(Step):
    """An action on a thing: the named one (a template may say which), or (`inferred`) the one that the firing is about.

    A subclass has one field of the name in `THING`.
    """

    THING: ClassVar[str]

    source: Literal["selected", "inferred"] = "selected"

    @model_validator(mode="before")
    @classmethod
    def _prefect(cls, given: Any) -> Any:
        return renamed(given, f"{cls.THING}_id", cls.THING) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _one_source(self) -> "Chosen":
        thing = self.THING.replace("_", " ")
        if self.source == "selected" and self.chosen is None:
            raise ValueError(f"name the {thing}, or set source to inferred")
        if self.source == "inferred" and self.chosen is not None:
            raise ValueError(f"source inferred takes the {thing} from the event; leave {self.THING} out")
        checked(self.chosen)
        return self

    @property
    def chosen(self) -> str | None:
        """What it names, if it does."""
        name: str | None = getattr(self, self.THING)
        return name


class OnFlowRun(Step):
    """An action on a flow run: the one that the firing is about, unless `flow_run` (an id, or a template) names one."""

    flow_run: Name | None = None

    @field_validator("flow_run")
    @classmethod
    def _template(cls, flow_run: str | None) -> str | None:
        return checked(flow_run)


def renamed(given: Mapping[str, Any], theirs: str, ours: str, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """`given` with Prefect's field name `theirs` read as `ours`. Raises ValueError when both are given."""
    if given.get(theirs) is not None and given.get(ours) is not None:
        raise ValueError(f"{theirs} and {ours} are the same; give one")
    named = {name: value for name, value in given.items() if name not in (theirs, *drop)}
    return {**named, ours: given[theirs]} if given.get(theirs) is not None else named


def checked(value: T) -> T:
    """`value`, every text in it a template that may be rendered. Raises ValueError with the template's line."""
    try:
        check_value(value)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return value
