"""The door to a Docker engine, through its official client. The only module that imports `docker` (extra `docker`)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tocsin.events.errors import Conflict, Invalid, NotFound, Unavailable
from tocsin.flows.containers import RUN_ID, TAIL

try:
    import docker
    import docker.errors
    from docker.utils import kwargs_from_env
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    raise Invalid("a work pool of type docker needs the extra `docker`: pip install 'tocsin[docker]'") from missing

# Any below: the engine's JSON, and the client, which has no types.
Json = dict[str, Any]

PATIENCE_S: Final = 30
WAIT_S: Final = 20
"""How long one request waits for a container to end."""


class Engine:
    """An engine: that at `host`, else the one that DOCKER_HOST names. Its methods block.

    All raise Unavailable when it does not answer or fails, NotFound for what is not there, Conflict for what is there
    already or not running, Invalid for what it refuses.
    """

    def __init__(self, host: str | None = None) -> None:
        address = {"base_url": host} if host is not None else kwargs_from_env()
        with _translated():
            self._api: Any = docker.APIClient(timeout=PATIENCE_S, version="auto", **address)

    def pull(self, image: str) -> None:
        """Fetch the image."""
        with _translated():
            for told in self._api.pull(image, stream=True, decode=True):
                if "error" in told:
                    raise NotFound(told["error"])

    def create(self, name: str, config: Mapping[str, Any]) -> str:
        """A new container, not yet started; its id."""
        with _translated():
            made: str = self._api.create_container_from_config(config, name)["Id"]
        return made

    def inspect(self, container: str) -> Json:
        """All that the engine says about the container of this id or name."""
        with _translated():
            found: Json = self._api.inspect_container(container)
        return found

    def start(self, container: str) -> None:
        """Have it begin; one that runs goes on."""
        with _translated():
            self._api.start(container)

    def waited(self, container: str) -> Json | None:
        """Its `State` as soon as it has ended; None: it still runs, ask again."""
        try:
            with _translated():
                self._api.wait(container, timeout=WAIT_S)
        except Unavailable:
            pass  # it runs for longer than that, or there is no engine: then the next call says so
        state: Json = self.inspect(container)["State"]
        return None if state["Status"] in ("created", "running", "paused", "restarting") else state

    def signal(self, container: str, name: str) -> None:
        """Send this signal to its first process."""
        with _translated():
            self._api.kill(container, name)

    def tail(self, container: str) -> str:
        """Its last lines of output."""
        with _translated():
            lines: bytes = self._api.logs(container, tail=TAIL)
        return lines.decode(errors="replace")

    def remove(self, container: str) -> None:
        """Remove it, running or not, with its anonymous volumes; one that is gone is no error."""
        try:
            with _translated():
                self._api.remove_container(container, force=True, v=True)
        except (NotFound, Conflict):
            return  # 409: its removal is under way

    def list(self) -> list[Json]:
        """All containers of runs, running or not."""
        with _translated():
            found: list[Json] = self._api.containers(all=True, filters={"label": RUN_ID})
        return found

    def close(self) -> None:
        """Let go of its connections."""
        self._api.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFound(error.explanation) from error
    except docker.errors.APIError as error:
        if error.status_code == 409:
            raise Conflict(error.explanation) from error
        if error.is_client_error():
            raise Invalid(error.explanation) from error
        raise Unavailable(f"the Docker engine: {error.explanation or error}") from error
    except (docker.errors.DockerException, HTTPError, OSError) as error:  # OSError: all that `requests` raises
        raise Unavailable(f"the Docker engine does not answer: {error}") from error
