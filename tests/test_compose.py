"""docker-compose.yml without an engine: what a schema cannot see is checked here, and each check is shown to bite."""

from __future__ import annotations

import copy
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from cyclopts import CycloptsError
from pydantic import SecretStr

from tocsin.events.errors import TocsinError
from tocsin.server.cli import app
from tocsin.server.settings import Settings, check_binding, load

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ROLES = {"server", "scheduler", "processor", "dispatcher", "worker"}
OPEN_TO_WRITING = {"kafka"}  # the image writes the configuration it makes into its own folder
HOST_AND_PORT = re.compile(r"(?:^|[@/,])([a-z][a-z0-9.-]*):(\d+)", re.IGNORECASE)
DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")

# Any: the form of the file is what is under test.
Compose = dict[str, Any]
Check = Callable[[Compose], Iterator[str]]


# --- reading ---


def services(compose: Compose) -> list[tuple[str, dict[str, Any]]]:
    return list(compose["services"].items())


def ours(compose: Compose) -> list[tuple[str, dict[str, Any]]]:
    """The services that run tocsin's own image."""
    return [(name, service) for name, service in services(compose) if "build" in service]


def variables(service: dict[str, Any]) -> dict[str, str]:
    """The environment with the defaults of `${NAME:-default}` put in."""
    return {key: DEFAULT.sub(r"\1", str(value)) for key, value in service.get("environment", {}).items()}


def commands(service: dict[str, Any]) -> list[list[str]]:
    """The command lines of tocsin that a service runs, its health check among them."""
    health = service.get("healthcheck", {}).get("test", [])
    return [service["command"], *([health[2:]] if health[:2] == ["CMD", "tocsin"] else [])]


def names(value: list[Any] | dict[str, Any] | None) -> list[str]:
    return list(value or [])


def sources(service: dict[str, Any]) -> list[str]:
    return [volume.split(":")[0] for volume in service.get("volumes", [])]


# --- checks: each yields its complaints ---


def fits_the_schema(compose: Compose) -> Iterator[str]:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    run = subprocess.run(
        [*tool, "--default-filetype", "yaml", "-"],
        input=yaml.safe_dump(compose),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        yield run.stdout + run.stderr


def every_reference_exists(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for kind in ("networks", "secrets"):
            yield from (f"{name}: no such {kind}: {x}" for x in names(service.get(kind)) if x not in compose[kind])
        yield from (f"{name}: waits for {x}" for x in names(service.get("depends_on")) if x not in compose["services"])
        for source in sources(service):
            there = (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]
            if not there:
                yield f"{name}: no such volume: {source}"


def nothing_is_declared_for_nobody(compose: Compose) -> Iterator[str]:
    used = {kind: {x for _, s in services(compose) for x in names(s.get(kind))} for kind in ("networks", "secrets")}
    used["volumes"] = {source for _, service in services(compose) for source in sources(service)}
    for kind, known in used.items():
        yield from (f"{kind}: nobody uses {x}" for x in compose[kind] if x not in known)


def a_wait_ends(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for other, how in service.get("depends_on", {}).items():
            once = "healthcheck" not in compose["services"].get(other, {})
            wanted = "service_completed_successfully" if once else "service_healthy"
            if how["condition"] != wanted:
                yield f"{name}: waits for {other} with {how['condition']}, not {wanted}"


def hosts_are_services_within_reach(compose: Compose) -> Iterator[str]:
    listeners = variables(compose["services"]["kafka"])["KAFKA_LISTENERS"]
    ports = {"kafka": set(re.findall(r":(\d+)", listeners)), "postgres": {"5432"}, "server": {"4200"}}
    for name, service in services(compose):
        said = [*variables(service).values(), *service.get("healthcheck", {}).get("test", [])]
        for host, port in (found for value in said for found in HOST_AND_PORT.findall(value)):
            if host not in compose["services"]:
                yield f"{name}: {host}:{port} is no service"
            elif port not in ports.get(host, set()):
                yield f"{name}: {host} does not listen on {port}"
            elif not set(service["networks"]) & set(compose["services"][host]["networks"]):
                yield f"{name}: shares no network with {host}"


def settings_exist_and_are_valid(compose: Compose) -> Iterator[str]:
    known = {f"TOCSIN_{field.upper()}" for field in Settings.model_fields}
    for name, service in ours(compose):
        given = {key: value for key, value in variables(service).items() if key.startswith("TOCSIN_")}
        given |= {secret.upper(): "a" * 44 for secret in names(service.get("secrets"))}
        yield from (f"{name}: no such setting: {key}" for key in given if key not in known)
        with pytest.MonkeyPatch.context() as environment:
            for key in given.keys() - {"TOCSIN_SECRETS_DIR"}:
                environment.setenv(key, given[key])
            try:
                check_binding(load())
            except TocsinError as error:
                yield f"{name}: {error}"


def commands_parse(compose: Compose) -> Iterator[str]:
    for name, service in ours(compose):
        for tokens in commands(service):
            try:
                app.parse_args(tokens, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                yield f"{name}: tocsin {' '.join(tokens)}: {type(error).__name__}"


def every_role_runs(compose: Compose) -> Iterator[str]:
    running = {service["command"][0] for _, service in ours(compose)}
    yield from (f"nobody runs {role}" for role in sorted(ROLES - running))


def ports_are_on_loopback(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        yield from (f"{name}: {port}" for port in service.get("ports", []) if not str(port).startswith("127.0.0.1:"))
        if service.get("network_mode") == "host":
            yield f"{name}: is on the network of the host"


def versions_are_named(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        tag = service["image"].rpartition(":")[2]
        if not re.match(r"\d+\.\d+", tag):
            yield f"{name}: {service['image']} names no version"


def health_is_asked_or_the_service_ends(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        once = str(service["restart"]).startswith("on-failure")
        if once == ("healthcheck" in service):
            yield f"{name}: has neither a health check nor an end, or both"


def each_is_hardened(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        wanted = {
            "init": service.get("init") is True,
            "cap_drop ALL": service.get("cap_drop") == ["ALL"],
            "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", []),
            "no privileged": not service.get("privileged") and not service.get("cap_add"),
            "user": service.get("user", "root").split(":")[0] not in ("root", "0"),
            "mem_limit": "mem_limit" in service,
            "log rotation": {"max-size", "max-file"} <= set(service.get("logging", {}).get("options", {})),
            "read_only": service.get("read_only") is True or name in OPEN_TO_WRITING,
            "tmpfs /tmp": any(t.startswith("/tmp:") for t in service.get("tmpfs", [])) or name in OPEN_TO_WRITING,
        }
        yield from (f"{name}: {what}" for what, kept in wanted.items() if not kept)


def secrets_come_as_files(compose: Compose) -> Iterator[str]:
    secret = {
        key
        for key, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
    for name, service in services(compose):
        for key, value in variables(service).items():
            told = key.removeprefix("TOCSIN_").lower() in secret or re.search(r"PASSWORD$|TOKEN$", key)
            if told or re.search(r"://[^/@]*:[^/@]*@", value):
                yield f"{name}: {key} is for everyone who may list containers"
    yield from (f"secret {x}: not a file" for x, how in compose["secrets"].items() if "file" not in how)


CHECKS: list[Check] = [
    fits_the_schema,
    every_reference_exists,
    nothing_is_declared_for_nobody,
    a_wait_ends,
    hosts_are_services_within_reach,
    settings_exist_and_are_valid,
    commands_parse,
    every_role_runs,
    ports_are_on_loopback,
    versions_are_named,
    health_is_asked_or_the_service_ends,
    each_is_hardened,
    secrets_come_as_files,
]


@pytest.fixture
def compose() -> Compose:
    loaded: Compose = copy.deepcopy(yaml.safe_load(FILE.read_text()))
    return loaded


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_compose_file_passes(check: Check, compose: Compose) -> None:
    assert list(check(compose)) == []


REMOVE = object()
MISTAKES: list[tuple[Check, str, Any]] = [
    (fits_the_schema, "services.server.heathcheck", {}),
    (fits_the_schema, "services.kafka.ports", "9092"),
    (every_reference_exists, "services.server.networks", ["inside", "outsid"]),
    (every_reference_exists, "services.worker.secrets", ["tocsin_datbase_url"]),
    (every_reference_exists, "services.kafka.volumes", ["kafak:/var/lib/kafka/data"]),
    (every_reference_exists, "services.worker.volumes", ["./exmples:/flows:ro"]),
    (every_reference_exists, "services.server.depends_on", {"migrat": {"condition": "service_healthy"}}),
    (nothing_is_declared_for_nobody, "volumes.spare", None),
    (a_wait_ends, "services.server.depends_on.migrate.condition", "service_healthy"),
    (a_wait_ends, "services.migrate.depends_on.postgres.condition", "service_started"),
    (hosts_are_services_within_reach, "services.server.environment.TOCSIN_KAFKA_BOOTSTRAP_SERVERS", "kafak:19092"),
    (hosts_are_services_within_reach, "services.server.environment.TOCSIN_KAFKA_BOOTSTRAP_SERVERS", "kafka:29092"),
    (hosts_are_services_within_reach, "services.scheduler.networks", []),
    (settings_exist_and_are_valid, "services.worker.environment.TOCSIN_DATBASE_URL", "sqlite://"),
    (settings_exist_and_are_valid, "services.worker.environment.TOCSIN_LOG_FORMAT", "jason"),
    (settings_exist_and_are_valid, "services.server.secrets", ["tocsin_database_url"]),
    (commands_parse, "services.migrate.command", ["db", "upgrad"]),
    (commands_parse, "services.worker.command", ["worker", "--pol", "default"]),
    (commands_parse, "services.server.healthcheck.test", ["CMD", "tocsin", "healthy"]),
    (every_role_runs, "services.dispatcher", REMOVE),
    (ports_are_on_loopback, "services.server.ports", ["4200:4200"]),
    (ports_are_on_loopback, "services.server.ports", ["0.0.0.0:4200:4200"]),
    (versions_are_named, "services.postgres.image", "postgres:latest"),
    (versions_are_named, "services.postgres.image", "postgres"),
    (health_is_asked_or_the_service_ends, "services.scheduler.healthcheck", REMOVE),
    (each_is_hardened, "services.postgres.user", REMOVE),
    (each_is_hardened, "services.worker.read_only", False),
    (each_is_hardened, "services.kafka.cap_drop", REMOVE),
    (each_is_hardened, "services.server.mem_limit", REMOVE),
    (secrets_come_as_files, "services.server.environment.TOCSIN_API_KEY", "0123456789abcdef"),
    (secrets_come_as_files, "services.postgres.environment.POSTGRES_PASSWORD", "guess"),
]


@pytest.mark.parametrize(("check", "where", "value"), MISTAKES, ids=[f"{c.__name__}: {w}" for c, w, _ in MISTAKES])
def test_a_planted_mistake_is_found(check: Check, where: str, value: object, compose: Compose) -> None:
    *path, last = where.split(".")
    place = compose
    for step in path:
        place = place[step]
    if value is REMOVE:
        del place[last]
    else:
        place[last] = value
    assert list(check(compose)) != []


def test_each_check_has_a_planted_mistake() -> None:
    assert {check for check, _, _ in MISTAKES} == set(CHECKS)


def repeated_keys(node: yaml.Node | None) -> Iterator[str]:
    """Keys that stand twice in one mapping: YAML readers take the last one and say nothing."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (f"line {node.start_mark.line + 1}: {key}" for key in sorted({k for k in keys if keys.count(k) > 1}))
        for _, value in node.value:
            yield from repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from repeated_keys(value)


def test_no_key_stands_twice() -> None:
    assert list(repeated_keys(yaml.compose(FILE.read_text()))) == []
    assert list(repeated_keys(yaml.compose("a: {b: 1, b: 2}"))) == ["line 1: b"]


# --- the image and the secrets ---


def test_the_image_is_made_of_what_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    files = {name for line in copied for name in line.split()}
    rooms = {folder.parent.name for folder in ROOT.glob("*/tocsin")}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    brought_along = re.findall(r'^"(\w+)/.+" = "tocsin/', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert rooms | set(brought_along) <= files
    assert all((ROOT / name).exists() for name in files)
    assert files == allowed


def test_the_image_runs_tocsin_as_the_account_of_the_compose_file(compose: Compose) -> None:
    (user,) = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert {service["user"] for _, service in ours(compose)} == {user}
    assert 'ENTRYPOINT ["tocsin"]' in DOCKERFILE
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.13-slim-bookworm"}


def test_secrets_are_made_once_and_are_what_the_settings_take(
    tmp_path: Path, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "secrets"
    script = [str(ROOT / "deploy/secrets.sh"), str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    subprocess.run(script, check=True, capture_output=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert {f"deploy/secrets/{name}" for name in first} == {how["file"] for how in compose["secrets"].values()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setenv("TOCSIN_SECRETS_DIR", str(folder))
    settings = load()
    assert settings.url == f"postgresql+psycopg://tocsin:{first['postgres_password']}@postgres:5432/tocsin"
    assert settings.key == first["tocsin_api_key"]
    assert settings.secret_key is not None
