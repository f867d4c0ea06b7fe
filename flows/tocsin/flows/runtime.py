"""The run that the code at hand belongs to: `from tocsin.flows.runtime import flow_run, task_run, deployment`.

    get_run_logger().info("%s for %s", flow_run.name, flow_run.scheduled_start_time)

Outside a run every attribute is None; `parameters` is an empty dict, `tags` an empty list.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from tocsin.flows.context import flow_context, task_context

# Any below: parameters, and columns of rows.


def _column(row: Mapping[str, Any] | None, name: str) -> Any:
    return None if row is None else row[name]


class _FlowRun:
    """The flow run; inside a subflow, that of the subflow."""

    @property
    def id(self) -> UUID | None:
        """Its id."""
        identity: UUID | None = _column(_flow_row(), "id")
        return identity

    @property
    def name(self) -> str | None:
        """Its name."""
        name: str | None = _column(_flow_row(), "name")
        return name

    @property
    def flow_name(self) -> str | None:
        """Its flow's name."""
        name: str | None = _column(_flow_row(), "flow_name")
        return name

    @property
    def flow_version(self) -> str | None:
        """Its flow's `version`."""
        version: str | None = _column(_flow_row(), "flow_version")
        return version

    @property
    def parameters(self) -> dict[str, Any]:
        """What its function was called with, validated."""
        context = flow_context.get()
        return dict(context.parameters) if context else {}

    @property
    def scheduled_start_time(self) -> datetime | None:
        """When it was to begin: of a run of a deployment its due time, else when it was made."""
        row = _flow_row()
        at: datetime | None = _column(row, "scheduled") or _column(row, "created")
        return at

    @property
    def run_count(self) -> int | None:
        """Which attempt this is, from 1 on."""
        count: int | None = _column(_flow_row(), "attempt")
        return count

    attempt = run_count

    @property
    def parent_flow_run_id(self) -> UUID | None:
        """Of a subflow's run: the run in which it was called."""
        identity: UUID | None = _column(_flow_row(), "parent_run_id")
        return identity

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(_column(_flow_row(), "tags") or ())


class _TaskRun:
    """The task run."""

    @property
    def id(self) -> UUID | None:
        """Its id."""
        identity: UUID | None = _column(_task_row(), "id")
        return identity

    @property
    def name(self) -> str | None:
        """Its name."""
        name: str | None = _column(_task_row(), "name")
        return name

    @property
    def task_name(self) -> str | None:
        """Its task's name."""
        name: str | None = _column(_task_row(), "task_name")
        return name

    @property
    def parameters(self) -> dict[str, Any]:
        """What its function was called with."""
        context = task_context.get()
        if context is None or context.call is None:
            return {}
        parameters, args, kwargs = context.call
        return parameters.bind(args, kwargs)

    @property
    def run_count(self) -> int | None:
        """Which attempt this is, from 1 on."""
        count: int | None = _column(_task_row(), "attempt")
        return count

    attempt = run_count

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(_column(_task_row(), "tags") or ())


class _Deployment:
    """The deployment whose run this is."""

    @property
    def name(self) -> str | None:
        """Its name."""
        name: str | None = _column(_flow_row(), "deployment")
        return name

    @property
    def work_pool(self) -> str | None:
        """The pool from which the run was taken."""
        name: str | None = _column(_flow_row(), "work_pool")
        return name


def _flow_row() -> Mapping[str, Any] | None:
    context = flow_context.get()
    return context.run if context else None


def _task_row() -> Mapping[str, Any] | None:
    context = task_context.get()
    return context.run if context else None


flow_run = _FlowRun()
task_run = _TaskRun()
deployment = _Deployment()
