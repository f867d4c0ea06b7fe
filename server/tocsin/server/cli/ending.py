"""How a command ends: its exit code, and one clear line when it went wrong."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def run(app: App, tokens: Sequence[str] | None) -> int:
    """Run one command line; errors of people and of services become one line on stderr, never a traceback."""
    try:
        outcome = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _usage(error)
    except BrokenPipeError:
        # Whoever read us has gone; keep Python from complaining again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else DONE
    except Exception as error:
        return _failure(error)
    return outcome if isinstance(outcome, int) else DONE


def _usage(error: CycloptsError) -> int:
    chain = " ".join(("tocsin", *(error.command_chain or ())))
    said = " ".join(str(error).split())
    print(f"tocsin: {said} (see `{chain} --help`)", file=sys.stderr)
    return USAGE


def _failure(error: Exception) -> int:
    from sqlalchemy.exc import DBAPIError

    from tocsin.events.errors import TocsinError
    from tocsin.server.logs import Redaction

    match error:
        case TocsinError() | OSError():
            said = str(error)
        case DBAPIError():
            said = f"the database does not do this: {error.orig}; `tocsin db upgrade` brings an older one up to date"
        case _:
            raise error
    print(f"tocsin: {Redaction().text(' '.join(said.split()))}", file=sys.stderr)
    return FAILED
