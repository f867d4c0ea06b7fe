"""Schedules in the database: put, read, pause, resume, remove."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

import msgspec
from sqlmodel import Session, col, select

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.store.engine import insert_new, touch
from tocsin.store.log import append
from tocsin.triggers.announce import switched
from tocsin.triggers.due import CatchUp, Mode, previous_occurrence
from tocsin.triggers.jitter import next_sending
from tocsin.triggers.schedules import from_dict
from tocsin.triggers.tables import Schedule
from tocsin.triggers.ticks import definition, settle
from tocsin.triggers.timetable import Timetable

CHANNEL: Final = "schedules"
Overlap = Literal["allow", "skip", "queue", "cancel_running"]
_SLUG: Final = re.compile(r"\w[\w.:/-]{0,199}")


def put_schedule(
    session: Session,
    slug: str,
    schedule: Timetable | Mapping[str, Any],  # Any: the JSON form
    *,
    deployment: str | None = None,
    parameters: Mapping[str, Any] | None = None,  # Any: the flow's own
    active: bool | None = None,
    catchup: CatchUp | Mode = "latest",
    overlap: Overlap = "allow",
    now: datetime,
) -> Schedule:
    """Make or change the schedule `slug`; the row. Ticks begin after `now`.

    Putting the same definition again changes nothing about how far it has come. `active=None` leaves a paused one
    paused (a new one is active). With another definition the old one first logs what it still owes, then the new one
    begins at `now`. `overlap`: what becomes of a tick's run while an earlier run of this schedule is not finished.
    Raises `Invalid` that names the slug and what is wrong.
    """
    found = _checked(slug, schedule, now)
    values = {
        "kind": found.kind,
        "spec": found.to_dict(),
        "timezone": found.timezone,
        "deployment": deployment,
        "parameters": _json(slug, parameters or {}),
        **_policies(slug, catchup, overlap),
    }
    row = _locked(session, slug)
    if row is None and _inserted(session, slug, found, values, active is not False, now):
        touch(session, CHANNEL)
        return get_schedule(session, slug)
    row = row or _for_update(session, slug)
    _edit(session, row, found, values, now)
    if active is not None:
        _set_active(session, row, active, now)
    return row


def get_schedule(session: Session, slug: str) -> Schedule:
    """The schedule of this slug; raises `NotFound`."""
    row = session.get(Schedule, slug)
    if row is None:
        raise NotFound(f"schedule {slug!r} is not known; `tocsin schedule ls` lists them")
    return row


def list_schedules(
    session: Session, *, deployment: str | None = None, active: bool | None = None, after: str = "", limit: int = 1_000
) -> list[Schedule]:
    """Schedules in the order of their slugs, behind slug `after`; only those of a deployment, only (in)active ones."""
    statement = select(Schedule).where(col(Schedule.slug) > after)
    if deployment is not None:
        statement = statement.where(Schedule.deployment == deployment)
    if active is not None:
        statement = statement.where(col(Schedule.active).is_(active))
    return list(session.exec(statement.order_by(col(Schedule.slug)).limit(limit)))


def pause_schedule(session: Session, slug: str, now: datetime, cause: Cause = OUTSIDE) -> Schedule:
    """No ticks from `now` on, until it is resumed; the row."""
    row = _for_update(session, slug)
    _set_active(session, row, False, now, cause)
    return row


def resume_schedule(session: Session, slug: str, now: datetime, cause: Cause = OUTSIDE) -> Schedule:
    """Ticks again from `now` on; what would have been due while it was paused was not due. The row."""
    row = _for_update(session, slug)
    _set_active(session, row, True, now, cause)
    return row


def remove_schedule(session: Session, slug: str) -> None:
    """Take the schedule away; its ticks stay in the log."""
    session.delete(_for_update(session, slug))
    session.flush()
    touch(session, CHANNEL)


def _checked(slug: str, schedule: Timetable | Mapping[str, Any], now: datetime) -> Timetable:
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise Invalid(f"schedule {str(slug)[:80]!r}: a slug is 1 to 200 letters, digits, and . _ : / - between them")
    try:
        return schedule if isinstance(schedule, Timetable) else from_dict(schedule)
    except Invalid as error:
        raise Invalid(f"schedule {slug!r}: {error}") from error


def _policies(slug: str, catchup: CatchUp | Mode, overlap: Overlap) -> dict[str, Any]:
    policy = catchup if isinstance(catchup, CatchUp) else CatchUp(catchup)
    if policy.window is not None and policy.window <= timedelta(0):
        raise Invalid(f"schedule {slug!r}: catchup: a window is longer than nothing, not {policy.window}")
    window_s = policy.window.total_seconds() if policy.window is not None else None
    try:
        return {"catchup": _mode(policy.mode), "window_s": window_s, "overlap": _overlap(overlap)}
    except Invalid as error:
        raise Invalid(f"schedule {slug!r}: {error}") from error


def policies(catchup: object, window_s: object, overlap: object) -> tuple[CatchUp, Overlap]:
    """What JSON says of late ticks (with a window in seconds) and of overlaps; None for what it does not say.

    Raises Invalid.
    """
    if window_s is not None and (isinstance(window_s, bool) or not isinstance(window_s, int | float)):
        raise Invalid(f"catchup_window: {str(window_s)[:40]!r} is no number of seconds")
    if window_s is not None and not 0 < window_s < 1e10:
        raise Invalid(f"catchup_window: {window_s} is no number of seconds above 0")
    window = timedelta(seconds=window_s) if window_s is not None else None
    return CatchUp(_mode(catchup or "latest"), window), _overlap(overlap or "allow")


def _mode(catchup: object) -> Mode:
    match catchup:
        case "all" | "latest" | "none":
            return catchup
    raise Invalid(f"catchup: {str(catchup)[:40]!r} is none of {', '.join(get_args(Mode))}")


def _overlap(overlap: object) -> Overlap:
    match overlap:
        case "allow" | "skip" | "queue" | "cancel_running":
            return overlap
    raise Invalid(f"overlap: {str(overlap)[:40]!r} is none of {', '.join(get_args(Overlap))}")


def _json(slug: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(parameters)))
    except (TypeError, ValueError) as error:
        raise Invalid(f"schedule {slug!r}: parameters: {error}") from error
    return read


def _locked(session: Session, slug: str) -> Schedule | None:
    return session.exec(select(Schedule).where(Schedule.slug == slug).with_for_update()).first()


def _for_update(session: Session, slug: str) -> Schedule:
    return _locked(session, slug) or get_schedule(session, slug)


def _inserted(
    session: Session, slug: str, schedule: Timetable, values: dict[str, Any], active: bool, now: datetime
) -> bool:
    begin = _beginning(slug, schedule, now)
    row = {"slug": slug, **values, **begin, "active": active, "version": 1, "created": now, "updated": now}
    return insert_new(session, Schedule, [row]) == 1


def _beginning(slug: str, schedule: Timetable, now: datetime) -> dict[str, datetime | None]:
    """Where a definition stands that begins at `now`."""
    first = next(schedule.occurrences(now), None)
    if first is None:
        raise Invalid(f"schedule {slug!r}: would never fire: {schedule.shown} has nothing after {now:%Y-%m-%d %H:%M}Z")
    next_at = next_sending(schedule, slug, now)
    return {"cursor": now, "previous_at": previous_occurrence(schedule, first), "next_at": next_at}


def _edit(session: Session, row: Schedule, schedule: Timetable, values: dict[str, Any], now: datetime) -> None:
    if all(getattr(row, name) == value for name, value in values.items()):
        return
    if row.spec != values["spec"]:
        begin = _beginning(row.slug, schedule, now)
        settle(session, row, now)
        values = values | begin
    row.sqlmodel_update(values | {"version": row.version + 1, "updated": now})
    session.add(row)
    touch(session, CHANNEL)


def _set_active(session: Session, row: Schedule, active: bool, now: datetime, cause: Cause = OUTSIDE) -> None:
    if row.active == active:
        return
    if active:
        row.sqlmodel_update(_resumed(row, now))
    else:
        settle(session, row, now)
    row.sqlmodel_update({"active": active, "version": row.version + 1, "updated": now})
    session.add(row)
    session.flush()
    append(session, [switched(row, now, cause)])
    touch(session, CHANNEL)


def _resumed(row: Schedule, now: datetime) -> dict[str, datetime | None]:
    schedule = definition(row)
    first = next(schedule.occurrences(now), None)
    next_at = next_sending(schedule, row.slug, now)
    return {"cursor": now, "previous_at": previous_occurrence(schedule, first or now), "next_at": next_at}
