"""`tocsin hook`: what others may post, and which events it becomes."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Final

from cyclopts import App, Parameter

from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.signatures import Headers, Stale, Unproven
from tocsin.server import reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_one, show_rows
from tocsin.server.cli.payloads import content, event_row
from tocsin.server.hook_files import hooks_in
from tocsin.triggers import hooks as stored
from tocsin.triggers.hook_posts import Greeting, Meant, Post, Unwanted, read
from tocsin.triggers.signatures import verify

app = App(name="hook", help="Apply, list, try and remove hooks: events that others post.")

LONGEST: Final = 300
"""Characters of a lost body that the table shows."""

Name = Annotated[str, Parameter(help="Which hook.")]


@app.command
def apply(
    target: Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """Put the hooks that a file or module defines on record; others are left alone."""
    found = hooks_in(target)
    with opened() as store, store.begin() as session:
        now = datetime.now(UTC)
        rows = [{"name": hook.name, "change": stored.put_hook(session, hook, now)} for hook in found]
    for hook in found:
        if hook.insecure:
            print(f"tocsin: warning: hook {hook.name} is insecure: anybody may post to it", file=sys.stderr)
    show_rows(rows, output, ("name", "change"), "")


@app.command
def ls(*, output: Output = "table") -> None:
    """List hooks and how their posts are verified."""
    with opened() as store, store.read() as session:
        rows = reads.hooks(session)
    nothing = "no hooks; `tocsin hook apply FILE` puts some on record"
    show_rows(rows, output, ("name", "verified_by", "updated"), nothing)


@app.command
def show(name: Name, /, *, output: Output = "table") -> None:
    """Show a hook. Secrets are masked; applied, a mask keeps the stored secret."""
    with opened() as store, store.read() as session:
        hook = reads.hook(session, name)
    show_one(hook if output == "json" else {**hook.config, "updated": hook.updated}, output)


@app.command
def lost(
    name: Annotated[str | None, Parameter(help="Of which hook (default: of all).")] = None,
    /,
    *,
    limit: Limit = 20,
    output: Output = "table",
) -> None:
    """List posts that a hook could not make events of: the dead letters of hooks, with reason and body."""
    with opened() as store, store.read() as session:
        rows = reads.lost_posts(session, hook=name, limit=limit)
    if output == "table":
        rows = [row.model_copy(update={"body": _begun(row.body)}) for row in rows]
    show_rows(rows, output, ("recorded", "hook", "reason", "body"), "nothing is lost")


def _begun(body: str) -> str:
    if len(body) <= LONGEST:
        return body
    return f"{body[:LONGEST]}… ({len(body):,} characters; all of them: -o json)"


@app.command(name=["rm", "remove"])
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Forget a hook: what is posted there from now on is refused."""
    with opened() as store, store.begin() as session:
        stored.remove_hook(session, name)
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


@app.command(name="test")
def try_out(
    name: Name,
    /,
    *,
    body: Annotated[str, Parameter(help="What is posted: text, @FILE, or - for stdin.", allow_leading_hyphen=True)],
    header: Annotated[list[str] | None, Parameter(help="`Name: value`; repeat it.", negative=())] = None,
    query: Annotated[list[str] | None, Parameter(help="`name=value` of the address; repeat it.", negative=())] = None,
    output: Output = "table",
) -> int:
    """Say which event a post would become; nothing is stored. With the headers of a signature that is judged, too.

    Exit code 1 when the post would not become an event.
    """
    with opened() as store, store.read() as session:
        hook = stored.get_hook(session, name)
    headers = tuple(_pair(text, ":") for text in header or [])
    typed = any(known == "content-type" for known, _ in headers)
    headers = headers if typed else (*headers, ("content-type", "application/json"))
    now = datetime.now(UTC)
    post = Post(headers, dict(_pair(text, "=") for text in query or []), content("--body", body))
    _judge(verify(hook.verify, headers, post.body, now), headers)
    try:
        found = read(hook, post, now)
    except (BadEvent, LookupError) as error:
        raise Invalid(f'hook "{name}": {error.args[0]}') from error
    match found:
        case Meant(event):
            show_one(event_row(event), output)
        case Greeting(answer):
            show_one(answer, output)
        case Unwanted():
            show_one({"id": None, "reason": "`where` is not true of it"}, output)
    return 0 if isinstance(found, Meant) else 1


def _judge(verdict: object, headers: Headers) -> None:
    match verdict:
        case Unproven(reason) | Stale(reason) if len(headers) > 1:
            print(f"tocsin: warning: the server would refuse this: {reason}", file=sys.stderr)


def _pair(text: str, sign: str) -> tuple[str, str]:
    key, found, value = text.partition(sign)
    if not (key.strip() and found):
        raise Invalid(f"{text[:80]!r}: give it as name{sign}value")
    return (key.strip().lower() if sign == ":" else key), value.strip()
