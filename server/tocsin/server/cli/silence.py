"""`tocsin silence`: for a while, say nothing of some alerts."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.events.errors import Invalid
from tocsin.notifiers import silences
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.silences import State
from tocsin.notifiers.spans import read_span
from tocsin.server import oncall, routing
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, plain, show_one, show_rows
from tocsin.server.routing import PreviewView

app = App(name="silence", help="Add, list and end silences.")

_COLUMNS = ("id", "state", "matchers", "starts", "ends", "author", "comment")


@app.command
def add(
    *matchers: Annotated[str, Parameter(help="""Which alerts: 'team="db", severity=~"warning|info"'.""")],
    span: Annotated[str | None, Parameter(name="--for", help="How long: 30m, 2h, 1d12h.")] = None,
    until: Annotated[datetime | None, Parameter(help="Until when, with a zone; instead of --for.")] = None,
    starts: Annotated[datetime | None, Parameter(help="From when, with a zone (default: now).")] = None,
    comment: Annotated[str, Parameter(help="Why.")] = "",
    author: Annotated[str | None, Parameter(help="Who (default: you).")] = None,
    preview: Annotated[bool, Parameter(help="Only say what it would keep quiet.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Keep alerts quiet for a while. Who was told that something fires is still told when it is over.

    With `--preview` nothing is written: it says what would be quiet now, and what would have been in the last 24 hours.
    """
    now = datetime.now(UTC)
    found = read_matchers(matchers)
    if preview:
        with opened() as store, store.read() as session:
            told = ", ".join(map(str, found))
            seen = routing.preview_view(told, silences.preview(session, found, now))
        _show_preview(seen, output)
        return
    begin = routing.aware(starts, "--starts") or now
    end = _end(begin, span, routing.aware(until, "--until"))
    by = getpass.getuser() if author is None else author
    with opened() as store, store.begin() as session:
        made = silences.add_silence(session, found, starts=begin, ends=end, author=by, comment=comment, now=now)
        shown = routing.get_silence(session, made.id, now)
    show_one(shown, output)


@app.command
def ls(
    *,
    state: Annotated[State | None, Parameter(help="Only those.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List silences, the last to end first."""
    now = datetime.now(UTC)
    with opened() as store, store.read() as session:
        rows = [routing.silence_view(row, now) for row in silences.list_silences(session, now, state, limit)]
    nothing = "no silences; `tocsin silence add MATCHERS --for 2h` makes one"
    show_rows(rows, output, _COLUMNS, nothing, short={"id"}, limit=limit)


@app.command
def expire(
    silence: Annotated[str, Parameter(help="Id of a silence, or its first letters.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """End a silence now. What it kept quiet and still fires is told."""
    now = datetime.now(UTC)
    with opened() as store, store.begin() as session:
        wanted = oncall.silence_named(session, silence)
        silences.expire_silence(session, wanted, by=getpass.getuser(), now=now)
        shown = routing.get_silence(session, wanted, now)
    show_one(shown, output)


def _end(begin: datetime, span: str | None, until: datetime | None) -> datetime:
    if (span is None) == (until is None):
        raise Invalid("how long? Give --for 2h, or --until with a time")
    if until is not None:
        return until
    try:
        return begin + read_span(span)
    except ValueError as error:
        raise Invalid(f"--for {span}: {error}") from error


def _show_preview(found: PreviewView, output: Output) -> None:
    if output == "json":
        show_one(found, output)
        return
    least = "" if found.complete else "at least "
    print(plain(found.matchers))
    print(f"  quiet now: {least}{_some(found.firing, 'alert')} in {_some(found.incidents, 'incident')}")
    print(f"  quiet in the last 24 hours: {least}{_some(found.past, 'alert')}")
    for subject in found.examples:
        print(plain(f"    {subject}"))
    print("nothing is written; `--for 2h` instead of `--preview` adds it")


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
