"""`tocsin secret`: values that notifiers refer to by name, and the keys that seal them."""

import getpass
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from pydantic import SecretStr, ValidationError

from tocsin.events.errors import Invalid
from tocsin.notifiers import vault
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_rows
from tocsin.store.resealing import reseal_all
from tocsin.store.secrets import add_key, new_key

app = App(name="secret", help="Put, list and remove secrets; change the key that seals them.")

Name = Annotated[str, Parameter(help="Which secret.")]


@app.command
def ls(*, output: Output = "table") -> None:
    """List secrets and the notifiers that refer to them. Their values are never shown."""
    with opened() as store, store.read() as session:
        rows = [
            {"name": one.name, "used_by": list(one.used_by), "created": one.created, "updated": one.updated}
            for one in vault.list_secrets(session)
        ]
    nothing = "no secrets; `tocsin secret put NAME` puts one"
    show_rows(rows, output, ("name", "used_by", "updated"), nothing)


@app.command
def put(
    name: Name,
    /,
    *,
    file: Annotated[Path | None, Parameter(help="Take the value from this file.")] = None,
    env: Annotated[str | None, Parameter(help="Take the value from this environment variable.")] = None,
    output: Output = "table",
) -> None:
    """Put a secret on record, from stdin (asked for on a terminal) unless told otherwise; the last line break goes.

    Notifiers that refer to it have the new value from their next message on.
    """
    try:
        secret = vault.Secret(name=name, value=SecretStr(_value(name, file, env)))
    except ValidationError as error:  # its own text may show the value
        wrong = ", ".join(str(flaw["loc"][0]) for flaw in error.errors(include_input=False))
        raise Invalid(f"secret {name!r}: {wrong} cannot be taken; 1 to 100 letters, 1 to 64,000 characters") from None
    with opened() as store, store.begin() as session:
        vault.put_secret(session, secret, datetime.now(UTC))
    show_rows([{"name": name, "change": "put"}], output, ("name", "change"), "")


@app.command(name=["rm", "remove"])
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Forget a secret. One that a notifier refers to stays."""
    with opened() as store, store.begin() as session:
        vault.remove_secret(session, name)
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


@app.command
def rotate(
    *,
    new: Annotated[
        bool, Parameter(name="--new-key", negative=(), help="First put a new key before those of the key file.")
    ] = False,
    output: Output = "table",
) -> int:
    """Seal everything in the database with the first key: notifiers, hooks, automations, invocations, secrets.

    Stopped at any point it has done no harm; run it again. Exit code 1 when something is sealed with a key that is not
    there.
    """
    if new:
        print(f"tocsin: a new key seals from now on; keep {add_key()} safe", file=sys.stderr)
    resealed, unreadable = Counter[str](), Counter[str]()
    with opened() as store:
        for batch in reseal_all(store):
            resealed[f"{batch.table}.{batch.column}"] += batch.resealed
            unreadable[f"{batch.table}.{batch.column}"] += batch.unreadable
    rows = [{"column": one, "resealed": resealed[one], "unreadable": unreadable[one]} for one in sorted(resealed)]
    show_rows(rows, output, ("column", "resealed", "unreadable"), "nothing is sealed")
    return 1 if unreadable.total() else 0


@app.command(name="new-key")
def make_key() -> None:
    """Print a key for TOCSIN_SECRET_KEY: put it before the old one, with a comma between, then `rotate`."""
    print(new_key())


def _value(name: str, file: Path | None, env: str | None) -> str:
    if file is not None and env is not None:
        raise Invalid("give either --file or --env")
    if env is not None:
        if not os.environ.get(env):
            raise Invalid(f"secret {name!r} is to come from {env}, which is not set")
        return os.environ[env]
    try:
        return _typed(name) if file is None else file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file or 'stdin'}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error


def _typed(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    return sys.stdin.buffer.read().decode().removesuffix("\n")
