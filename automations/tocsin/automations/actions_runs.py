"""Actions on work: run a deployment; retry, cancel, suspend, resume, delete a flow run, or change its state."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from tocsin.automations.action import Chosen, Name, OnFlowRun, Seconds, checked
from tocsin.automations.prefect import read_parameters
from tocsin.flows.states import StateType

# Any, below: parameters are whatever JSON the flow wants; validators see what a person gave.

STATES: Final = {
    StateType.SCHEDULED: "Scheduled",
    StateType.PAUSED: "Paused",
    StateType.CANCELLING: "Cancelling",
    StateType.CANCELLED: "Cancelled",
    StateType.COMPLETED: "Completed",
    StateType.FAILED: "Failed",
    StateType.CRASHED: "Crashed",
}
"""The types of state into which somebody from outside may bring a run, and their names unless another is given."""


class RunDeployment(Chosen):
    """Starts a run of a deployment: the named one, or (`inferred`) the one that the firing is about.

    `parameters` is an object with templates in it, or one template that gives an object. `schedule_after` counts from
    the firing.
    """

    THING: ClassVar[str] = "deployment"

    type: Literal["run-deployment"] = "run-deployment"
    deployment: Name | None = None
    parameters: dict[str, Any] | str = Field(default_factory=dict)
    schedule_after: Seconds = timedelta(0)

    @model_validator(mode="before")
    @classmethod
    def _as_theirs(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if given.get("job_variables"):
            raise ValueError("job_variables are not there yet; leave them out")
        named = {name: value for name, value in given.items() if name != "job_variables"}
        if "parameters" in named:
            named["parameters"] = {} if named["parameters"] is None else read_parameters(named["parameters"])
        return named

    @field_validator("parameters")
    @classmethod
    def _templates(cls, parameters: dict[str, Any] | str) -> dict[str, Any] | str:
        return checked(parameters)


class RetryFlowRun(OnFlowRun):
    """Puts the failed flow run back to work, at most `budget` times.

    The n-th retry comes `delay * factor**(n-1)` after the failure, at most `ceiling`. Completed tasks keep their
    results.
    """

    type: Literal["retry-flow-run"] = "retry-flow-run"
    budget: Annotated[int, Field(ge=1, le=1000)] = 3
    delay: Seconds = timedelta(seconds=10)
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    ceiling: Seconds = timedelta(hours=1)


class CancelFlowRun(OnFlowRun):
    """Cancels a flow run that has not begun, and asks one that is under way to stop."""

    type: Literal["cancel-flow-run"] = "cancel-flow-run"


class SuspendFlowRun(OnFlowRun):
    """Suspends a deployment's flow run: no worker takes it, the process of one that is under way is ended.

    What it has completed is not done again when it is resumed.
    """

    type: Literal["suspend-flow-run"] = "suspend-flow-run"


class ResumeFlowRun(OnFlowRun):
    """Lets a suspended flow run go on."""

    type: Literal["resume-flow-run"] = "resume-flow-run"


class DeleteFlowRun(OnFlowRun):
    """Forgets a flow run that no process works at: its tasks, log lines and subflow runs too. Its events stay."""

    type: Literal["delete-flow-run"] = "delete-flow-run"


class ChangeFlowRunState(OnFlowRun):
    """Brings the flow run into a state of the type `state`, under the name `name` (default: that of the type).

    Only steps that a run may take; with `force` a run may be scheduled again, and end, from any state.
    """

    type: Literal["change-flow-run-state"] = "change-flow-run-state"
    state: StateType
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,59}$")] | None = None
    message: Annotated[str, Field(max_length=2_000)] = ""
    force: bool = False

    @field_validator("state")
    @classmethod
    def _from_outside(cls, state: StateType) -> StateType:
        if state not in STATES:
            raise ValueError(f"only a worker's process makes a run {state}; there are: {', '.join(sorted(STATES))}")
        return state

    @field_validator("message", mode="before")
    @classmethod
    def _no_message(cls, message: Any) -> Any:
        return "" if message is None else message

    @field_validator("message")
    @classmethod
    def _message(cls, message: str) -> str:
        return checked(message)

    @property
    def state_name(self) -> str:
        """The name of the state."""
        return self.name or STATES[self.state]
