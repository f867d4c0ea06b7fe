"""`tocsin run`: look at flow runs, and change what becomes of them."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from tocsin.events.errors import Invalid
from tocsin.server import reads, run_commands, run_reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_one, show_rows
from tocsin.server.cli.payloads import content
from tocsin.server.cli.run_logs import logs

app = App(name="run", help="List, show, steer and retry flow runs; read their logs.")

app.command(logs)

Run = Annotated[str, Parameter(help="Id of a flow run, its first letters, or its name.")]
Reason = Annotated[str, Parameter(help="Why; it becomes the state's message.")]
_STATE_HELP = "Only runs in this state, by type (FAILED) or name (late, AwaitingRetry)."
_NONE_AT_ALL = "no flow runs; start one with `tocsin deployment run NAME`, or call a flow"


@app.command
def ls(
    *,
    state: Annotated[str | None, Parameter(help=_STATE_HELP)] = None,
    name: Annotated[str | None, Parameter(help="Only runs of this name; * stands for any characters.")] = None,
    deployment: Annotated[str | None, Parameter(help="Only runs of this deployment.")] = None,
    flow: Annotated[str | None, Parameter(help="Only runs of this flow.")] = None,
    tag: Annotated[str | None, Parameter(help="Only runs with this tag.")] = None,
    since: Annotated[datetime | None, Parameter(help="Only runs made then or later.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List flow runs, newest first."""
    wanted = run_reads.Wanted(state, name, deployment, flow, tag, since and since.astimezone())
    with opened() as store, store.read() as session:
        rows = run_reads.runs(session, wanted, limit=limit)
    columns = ("created", "name", "flow_name", "deployment", "state_name", "attempt", "id")
    show_rows(rows, output, columns, _NONE_AT_ALL if wanted == run_reads.Wanted() else _none_such(state))


@app.command
def show(run: Run, /, *, output: Output = "table") -> None:
    """Show a flow run and its task runs."""
    with opened() as store, store.read() as session:
        detail = reads.run_detail(session, reads.run_named(session, run))
    if output == "json":
        show_one(detail, output)
        return
    show_one({name: value for name, value in detail.model_dump().items() if name != "tasks"}, output)
    print()
    show_rows(detail.tasks, output, ("name", "state_name", "attempt", "started", "ended", "state_message"), "no tasks")


@app.command
def retry(
    run: Run,
    /,
    *,
    at: Annotated[datetime | None, Parameter(help="Not before this time; default: at once.")] = None,
    force: Annotated[bool, Parameter(negative="", help="Also a run that was completed or cancelled.")] = False,
    keep: Annotated[
        bool | None, Parameter(help="Keep what it has completed; default: yes, unless the run was completed.")
    ] = None,
    output: Output = "table",
) -> None:
    """Try a failed or crashed flow run again; tasks that completed are not run again."""
    with opened() as store, store.begin() as session:
        identity, now = reads.run_named(session, run), datetime.now(UTC)
        when = at and at.astimezone()
        view = run_commands.retry(session, identity, scheduled=when, force=force, keep=keep, now=now)
    show_one(view, output)


@app.command
def cancel(run: Run, /, *, reason: Reason = "", output: Output = "table") -> None:
    """Cancel a flow run: one that has not begun at once, one at work as soon as its process has ended."""
    _steer(run, "cancel", reason, output)


@app.command
def pause(run: Run, /, *, reason: Reason = "", output: Output = "table") -> None:
    """Hold a flow run back: its process stays and begins no further task until the run is resumed."""
    _steer(run, "pause", reason, output)


@app.command
def suspend(run: Run, /, *, reason: Reason = "", output: Output = "table") -> None:
    """Take a flow run out of work: its process is ended, resuming starts it again with what it has completed."""
    _steer(run, "suspend", reason, output)


@app.command
def resume(
    run: Run,
    /,
    *,
    given: Annotated[
        str | None, Parameter(name="--input", help="JSON that the run waits for; @FILE reads it, - is stdin.")
    ] = None,
    reason: Reason = "",
    output: Output = "table",
) -> None:
    """Let a paused or suspended flow run go on."""
    run_input = _json("--input", given) if given is not None else None
    with opened() as store, store.begin() as session:
        identity, now = reads.run_named(session, run), datetime.now(UTC)
        view = run_commands.resume(session, identity, run_input=run_input, reason=reason, now=now)
    show_one(view, output)


@app.command
def rm(run: Run, /) -> None:
    """Remove a flow run that is not at work, with its tasks, log lines and subflows; its events stay."""
    with opened() as store, store.begin() as session:
        identity = reads.run_named(session, run)
        run_commands.remove(session, identity, now=datetime.now(UTC))
    print(f"removed {identity}")


def _steer(run: str, how: run_commands.Steer, reason: str, output: Output) -> None:
    with opened() as store, store.begin() as session:
        identity, now = reads.run_named(session, run), datetime.now(UTC)
        view = run_commands.steer(session, identity, how, reason=reason, now=now)
    show_one(view, output)


def _json(option: str, given: str) -> Any:  # Any: JSON of the shape that a flow asks for
    try:
        return json.loads(content(option, given))
    except ValueError as error:
        raise Invalid(
            f"{option} {given[:80]!r}: it is not JSON: {error}; a text needs its quotes: '\"yes\"'"
        ) from error


def _none_such(state: str | None) -> str:
    """What to say when nothing fits; a state that nobody but a person gives may be a slip of the pen."""
    if state is None or run_reads.is_known_state(state):
        return "no flow runs like that; `tocsin run ls` without options lists all"
    return f"no flow runs are {state}; the states that tocsin gives are {', '.join(run_reads.NAMES)}"
