"""`tocsin health`: for people and for the health checks of containers."""

import json
from typing import Annotated, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from cyclopts import Parameter

from tocsin.server.settings import Settings, load

Role = Literal["server", "scheduler", "processor", "dispatcher", "worker"]

Output = Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"], help="A line, or JSON for programs.")]


def health(
    role: Annotated[Role, Parameter(help="Whose health; the server is asked over HTTP.")] = "server",
    /,
    *,
    ready: Annotated[bool, Parameter(help="Also: can it do its work?")] = False,
    output: Output = "table",
) -> int:
    """Exit code 0 when the role is well, else 1 and the reason.

    The server is asked at TOCSIN_API_URL, or where it listens on this machine. For another role: its process writes a
    mark under TOCSIN_HOME every few seconds, and the mark has to be fresh; with --ready the database has to answer too,
    and a processor must have taken its partitions over. How a processor fares is said along with it: its lag, for one.
    """
    settings = load()
    found = _server(settings, ready) if role == "server" else _process(settings, role, ready)
    print(json.dumps(found) if output == "json" else "; ".join(f"{name}: {said}" for name, said in found.items()))
    return 0 if found["status"] in ("ok", "ready") else 1


def _server(settings: Settings, ready: bool) -> dict[str, Any]:  # Any: members of JSON
    host = "127.0.0.1" if settings.host in ("", "0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    url = (settings.api_url or f"http://{host}:{settings.port}").rstrip("/").removesuffix("/api")
    try:
        with urlopen(f"{url}/api/{'ready' if ready else 'health'}", timeout=5) as answer:  # noqa: S310 - from settings
            found: dict[str, Any] = json.load(answer)
            return found
    except HTTPError as error:
        return _said(error)
    except URLError as error:
        return {"status": "unreachable", "reason": f"{url}: {error.reason}"}
    except (OSError, ValueError) as error:
        return {"status": "unreachable", "reason": f"{url}: {error}"}


def _said(error: HTTPError) -> dict[str, Any]:  # Any: members of JSON
    try:
        found: dict[str, Any] = {"status": "not ready", **json.load(error)}
    except ValueError:
        return {"status": "not ready", "reason": f"HTTP {error.code}"}
    return found


def _process(settings: Settings, role: str, ready: bool) -> dict[str, Any]:  # Any: members of JSON
    from tocsin.server.pulse import age, noted

    old = age(settings.home, role)
    if old is None:
        return {"status": "unknown", "reason": f"no {role} runs with TOCSIN_HOME={settings.home}"}
    if old.total_seconds() > 15:
        return {"status": "silent", "reason": f"the {role}'s last mark is {old.total_seconds():.0f} s old"}
    figures = noted(settings.home, role)
    if not ready:
        return {"status": "ok", **figures}
    if figures.get("ready", 0) < figures.get("partitions", 0):
        return {"status": "not ready", "reason": f"the {role} is taking its partitions over", **figures}
    return {**_database(settings), **figures}


def _database(settings: Settings) -> dict[str, Any]:  # Any: members of JSON
    from tocsin.events.errors import TocsinError
    from tocsin.server.cli.opening import opened

    try:
        with opened(settings):
            return {"status": "ready"}
    except TocsinError as error:
        return {"status": "not ready", "reason": str(error)}
