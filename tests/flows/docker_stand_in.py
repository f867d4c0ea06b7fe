"""As much of the Docker Engine API as running containers needs, over dicts."""

import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.flows.engine_stand_in import OOM, PROGRAMS, Body, Engine, Json, Refused, Request


@dataclass
class Container:
    name: str
    config: Json
    id: str = field(default_factory=lambda: uuid4().hex * 2)
    body: Body | None = None

    @property
    def state(self) -> str:
        if self.body is None:
            return "created"
        return "exited" if self.body.ended.is_set() else "running"

    def described(self) -> Json:
        code = self.body.code if self.body and self.body.ended.is_set() else 0
        oom = self.config["Image"] == "hungry" and code == OOM
        state = {"Status": self.state, "ExitCode": code, "OOMKilled": oom, "Error": ""}
        return {"Id": self.id, "Name": f"/{self.name}", "Config": {**self.config, "Tty": False}, "State": state}

    def listed(self) -> Json:
        return {"Id": self.id, "Names": [f"/{self.name}"], "Labels": self.config["Labels"], "State": self.state}


class DockerEngine(Engine):
    """`images`: those that are here; `registry`: those that can be pulled."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.registry = {*PROGRAMS, "flows"}, {"done:new"}
        self.containers: dict[str, Container] = {}

    def refusal(self, status: int, message: str) -> Json:
        return {"message": message}

    def close(self) -> None:
        for container in self.containers.values():
            if container.body is not None:
                container.body.signal("SIGKILL")
        super().close()

    def answer(self, request: Request) -> Any:
        match [request.method, *request.path.strip("/").split("/")]:
            case ["GET", "version"] | ["GET", _, "version"]:
                return {"ApiVersion": "1.45", "MinAPIVersion": "1.24"}
            case ["POST", _, "images", "create"]:
                return self._pull(f"{request.query['fromImage']}:{request.query['tag']}")
            case ["POST", _, "containers", "create"]:
                return self._create(request.query["name"], request.body)
            case ["GET", _, "containers", "json"]:
                return self._list(json.loads(request.query["filters"])["label"])
            case [method, _, "containers", name, *rest]:
                return self._about(method, self._named(name), rest, request.query)
        raise Refused(501, f"not in this stand-in: {request.method} {request.path}")

    def _pull(self, image: str) -> Any:
        if image == "endless:1":
            return self._endless()
        if image not in self.registry:
            return iter([{"status": "pulling"}, {"error": f"manifest for {image} not found"}])
        self.images.add(image)
        return iter([{"status": "pulled"}])

    def _endless(self) -> Iterator[Json]:
        with self.changed:
            self.changed.wait_for(lambda: self.closing)
        yield {"status": "interrupted"}

    def _create(self, name: str, config: Json) -> Json:
        with self.lock:
            if config["Image"] not in self.images:
                raise Refused(404, f"No such image: {config['Image']}")
            if any(one.name == name for one in self.containers.values()):
                raise Refused(409, f'Conflict. The container name "/{name}" is already in use')
            made = Container(name, config)
            self.containers[made.id] = made
        return {"Id": made.id, "Warnings": []}

    def _list(self, labels: list[str]) -> list[Json]:
        return [
            one.listed() for one in self.containers.values() if all(name in one.config["Labels"] for name in labels)
        ]

    def _named(self, name: str) -> Container:
        with self.lock:
            for one in self.containers.values():
                if name in (one.id, one.name):
                    return one
        raise Refused(404, f"No such container: {name}")

    def _about(self, method: str, one: Container, rest: list[str], query: dict[str, str]) -> Any:
        match [method, *rest]:
            case ["GET", "json"]:
                return one.described()
            case ["POST", "start"]:
                self._start(one)
            case ["POST", "wait"]:
                return self._wait(one)
            case ["POST", "kill"]:
                if one.body is None or one.body.ended.is_set():
                    raise Refused(409, f"container {one.id} is not running")
                one.body.signal(query["signal"])
            case ["GET", "logs"]:
                output = (one.body.output if one.body else "").splitlines(keepends=True)
                lines = [line.encode() for line in output[-int(query["tail"]) :]]
                return b"".join(struct.pack(">BxxxL", 2, len(line)) + line for line in lines)
            case ["DELETE"]:
                if one.body is not None:
                    one.body.signal("SIGKILL")
                self.containers.pop(one.id, None)
        return b""

    def _start(self, one: Container) -> None:
        with self.lock:
            if one.body is None:
                env = dict(pair.split("=", 1) for pair in one.config["Env"])
                command = [*one.config["Entrypoint"], *one.config["Cmd"]]
                one.body = Body(one.config["Image"].partition(":")[0], command, env, self.ring)

    def _wait(self, one: Container) -> Json:
        ended = one.body.ended if one.body else threading.Event()
        with self.changed:
            self.changed.wait_for(lambda: ended.is_set() or self.closing or one.id not in self.containers)
        return {"StatusCode": one.body.code if one.body else 0}
