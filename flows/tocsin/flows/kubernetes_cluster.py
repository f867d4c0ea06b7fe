"""The door to a Kubernetes cluster, through its official client. The only module that imports `kubernetes` (extra)."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tocsin.events.errors import Conflict, Invalid, NotFound, Unavailable
from tocsin.flows.containers import RUN_ID, TAIL
from tocsin.flows.kubernetes_job import CONTAINER, owner_of

try:
    import kubernetes
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    needed = "a work pool of type kubernetes needs the extra `kubernetes`: pip install 'tocsin[kubernetes]'"
    raise Invalid(needed) from missing

# Any below: Kubernetes' JSON, and the client, whose types are of no use: a body may be JSON, an answer bytes.
Json = dict[str, Any]
client: Any = kubernetes.client
config: Any = kubernetes.config
watch: Any = kubernetes.watch

PATIENCE_S: Final = 30
WATCH_S: Final = 60
REST_S: Final = 1.0


class Cluster:
    """One namespace of the cluster of a kubeconfig's context, or of the pod that this runs in. Its methods block.

    All raise Unavailable when it does not answer or fails, NotFound for what is not there, Conflict for what is there
    already, Invalid for what it refuses.
    """

    def __init__(self, namespace: str, kubeconfig: str | None = None, context: str | None = None) -> None:
        settings = _settings()
        settings.retries = False  # who calls tries again, and knows for how long
        try:
            _configured(settings, kubeconfig, context)
        except (ConfigException, OSError) as error:
            raise Invalid(f"no way to a Kubernetes cluster: {error}") from error
        self._namespace = namespace
        self._api: Any = client.ApiClient(settings)
        self._jobs, self._core = client.BatchV1Api(self._api), client.CoreV1Api(self._api)
        self._stopped = threading.Event()
        self._watch: Any = None

    def create(self, body: Json) -> None:
        """A new Job."""
        with _translated():
            self._jobs.create_namespaced_job(self._namespace, body, _request_timeout=PATIENCE_S)

    def job(self, name: str) -> Json:
        """The Job of this name."""
        with _translated():
            return self._plain(self._jobs.read_namespaced_job(name, self._namespace, _request_timeout=PATIENCE_S))

    def jobs(self) -> list[Json]:
        """All Jobs of runs."""
        with _translated():
            found = self._jobs.list_namespaced_job(self._namespace, label_selector=RUN_ID, _request_timeout=PATIENCE_S)
        return [self._plain(one) for one in found.items]

    def pods(self) -> list[Json]:
        """All pods of runs."""
        with _translated():
            found = self._core.list_namespaced_pod(self._namespace, label_selector=RUN_ID, _request_timeout=PATIENCE_S)
        return [self._plain(one) for one in found.items]

    def delete(self, name: str) -> None:
        """Have the Job and its pods go; a run gets SIGTERM and the pod's time. One that is gone is no error."""
        with _absent(), _translated():
            self._jobs.delete_namespaced_job(
                name, self._namespace, propagation_policy="Background", _request_timeout=PATIENCE_S
            )

    def kill(self, name: str) -> None:
        """Have the Job and its pods go at once."""
        self.delete(name)
        for pod in self.pods():
            if owner_of(pod) == name:
                with _absent(), _translated():
                    self._core.delete_namespaced_pod(
                        pod["metadata"]["name"], self._namespace, grace_period_seconds=0, _request_timeout=PATIENCE_S
                    )

    def tail(self, pod: str) -> str:
        """The last lines of output of the run in this pod."""
        with _translated():
            answer = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                container=CONTAINER,
                tail_lines=TAIL,
                _request_timeout=PATIENCE_S,
                _preload_content=False,
            )
            lines: bytes = answer.data
        return lines.decode(errors="replace")

    def watch(self, ring: Callable[[], None]) -> None:
        """Ring when a pod of a run changes, until `close`. What is not heard of while it does not answer is lost."""
        while not self._stopped.is_set():
            self._watch = watch.Watch()
            listing = self._core.list_namespaced_pod
            options = {"label_selector": RUN_ID, "timeout_seconds": WATCH_S, "_request_timeout": WATCH_S + PATIENCE_S}
            try:
                for _ in self._watch.stream(listing, self._namespace, **options):
                    ring()
            except (ApiException, HTTPError, OSError):
                self._stopped.wait(REST_S)

    def close(self) -> None:
        """End the watch, and let go of its connections."""
        self._stopped.set()
        if self._watch is not None:
            self._watch.stop()
        self._api.close()

    def _plain(self, found: Any) -> Json:
        plain: Json = self._api.sanitize_for_serialization(found)
        return plain


@contextmanager
def _absent() -> Iterator[None]:
    """What is not there need not be deleted."""
    try:
        yield
    except NotFound:
        return


def _settings() -> Any:
    """The client's settings, which quieten the logging of urllib3 for the whole process when they are made."""
    theirs = logging.getLogger("urllib3")
    level = theirs.level
    try:
        return client.Configuration()
    finally:
        theirs.setLevel(level)


def _configured(settings: Any, kubeconfig: str | None, context: str | None) -> None:
    """By the kubeconfig that is given; else from inside a pod; else by the kubeconfig of the user."""
    if kubeconfig is None and context is None:
        try:
            config.load_incluster_config(client_configuration=settings)
        except ConfigException:
            pass
        else:
            return
    config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=settings)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        said = f"the Kubernetes API: {error.status} {error.reason}: {error.body or ''}"[:1_000]
        match error.status:
            case 404:
                raise NotFound(said) from error
            case 409:
                raise Conflict(said) from error
            case 400 | 401 | 403 | 405 | 422:
                raise Invalid(said) from error
        raise Unavailable(said) from error
    except (HTTPError, OSError) as error:
        raise Unavailable(f"the Kubernetes API does not answer: {error}") from error
