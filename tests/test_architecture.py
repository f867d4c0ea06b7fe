"""The rooms stay rooms: one list of them everywhere, imports that point down, one door per library, files to read."""

from __future__ import annotations

import ast
import copy
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import api
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOL = PYPROJECT["tool"]
ROOMS = sorted(folder.parent.name for folder in ROOT.glob("*/tocsin") if not folder.parent.name.startswith("."))
CODE = [*ROOMS, "tests", "bench", "examples"]
KINDS: dict[str, type[Contract]] = {
    "layers": LayersContract,
    "forbidden": ForbiddenContract,
    "acyclic_siblings": AcyclicSiblingsContract,
}
OPTIONS = api.read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS = {options["name"]: options for options in OPTIONS["contracts_options"]}


def sources(*folders: str) -> list[Path]:
    """The code that people write; a migration is written by a tool, once, and not changed."""
    found = (file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return sorted(file for file in found if file.parent.name != "versions")


# --- the rooms ---


@pytest.mark.parametrize(
    ("where", "listed"),
    [
        (
            "hatch packages",
            [name.removesuffix("/tocsin") for name in TOOL["hatch"]["build"]["targets"]["wheel"]["packages"]],
        ),
        ("hatch dev-mode-dirs", TOOL["hatch"]["build"]["targets"]["wheel"]["dev-mode-dirs"]),
        ("mypy files", [name for name in TOOL["mypy"]["files"] if name != "tests"]),
        ("mypy_path", TOOL["mypy"]["mypy_path"]),
        ("pyright extraPaths", TOOL["pyright"]["extraPaths"]),
        ("ruff src", [name for name in TOOL["ruff"]["src"] if name != "."]),
        ("ruff namespace-packages", [name.removesuffix("/tocsin") for name in TOOL["ruff"]["namespace-packages"]]),
        ("layers", [n for row in CONTRACTS["rooms depend downwards only"]["layers"] for n in row.split(" | ")]),
    ],
)
def test_each_list_of_rooms_is_the_list_of_folders(where: str, listed: list[str]) -> None:
    assert sorted(listed) == ROOMS, where


def test_the_namespace_has_no_init_that_would_hide_the_other_rooms() -> None:
    assert list(ROOT.glob("*/tocsin/__init__.py")) == []
    assert [p.name for room in ROOMS for p in (ROOT / room / "tocsin").iterdir() if p.suffix == ".py"] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_one_package_of_its_own_name_and_is_typed(room: str) -> None:
    inside = [p.name for p in (ROOT / room / "tocsin").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert inside == [room]
    assert (ROOT / room / "tocsin" / room / "py.typed").exists()


# --- the imports ---


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("tocsin", include_external_packages=True, cache_dir=None)


def kept(name: str, graph: grimp.ImportGraph) -> bool:
    options: dict[str, Any] = CONTRACTS[name]  # Any: import-linter's own form
    contract = KINDS[options["type"]](name=name, session_options=OPTIONS["session_options"], contract_options=options)
    return contract.check(copy.deepcopy(graph), verbose=False).kept


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_imports_keep_the_contract(name: str, graph: grimp.ImportGraph) -> None:
    assert kept(name, graph), f"`lint-imports` shows how {name!r} is broken"


PLANTED = [
    ("rooms depend downwards only", "tocsin.store.log", "tocsin.flows.tables"),
    ("rooms depend downwards only", "tocsin.triggers.tables", "tocsin.notifiers.tables"),
    ("no cycles inside a room", "tocsin.events.errors", "tocsin.events.codec"),
    ("aiokafka: only tocsin.events.kafka", "tocsin.events.bus", "aiokafka"),
    ("faust: only tocsin.automations.stream", "tocsin.automations.tables", "faust"),
    ("apscheduler: only tocsin.triggers.alarm", "tocsin.triggers.tables", "apscheduler"),
    ("slack_sdk: only tocsin.notifiers.slack and slack_socket", "tocsin.notifiers.tables", "slack_sdk"),
    ("pdpyras: only tocsin.notifiers.pagerduty", "tocsin.notifiers.tables", "pdpyras"),
    ("aiosmtplib: only tocsin.notifiers.email", "tocsin.notifiers.tables", "aiosmtplib"),
    ("apprise: only tocsin.notifiers.apprise", "tocsin.notifiers.tables", "apprise"),
    ("aiohttp: only tocsin.notifiers.http, and the server of a stand-in", "tocsin.flows.tables", "aiohttp"),
    ("distributed: only tocsin.flows.dask", "tocsin.flows.tables", "distributed"),
    ("docker: only tocsin.flows.docker_engine", "tocsin.flows.docker", "docker"),
    ("kubernetes: only tocsin.flows.kubernetes_cluster", "tocsin.flows.kubernetes", "kubernetes"),
    ("cloudevents: only tocsin.events.cloudevents", "tocsin.events.codec", "cloudevents"),
    ("re2: only tocsin.notifiers.matchers", "tocsin.notifiers.view", "re2"),
    ("jmespath: only tocsin.events.jmes", "tocsin.events.labels", "jmespath"),
    ("prometheus_client: only tocsin.server.metrics and metric_forms", "tocsin.server.reads", "prometheus_client"),
    ("opentelemetry: only tocsin.flows.spans", "tocsin.flows.tasks", "opentelemetry"),
    ("web and command line: only the server", "tocsin.flows.tables", "fastapi"),
    ("events know no database", "tocsin.events.model", "sqlalchemy"),
    ("the core is pure", "tocsin.events.labels", "asyncio"),
    ("the core is pure", "tocsin.events.errors", "sqlalchemy"),
]


@pytest.mark.parametrize(("name", "importer", "imported"), PLANTED, ids=[f"{a} imports {b}" for _, a, b in PLANTED])
def test_a_planted_import_breaks_its_contract(
    name: str, importer: str, imported: str, graph: grimp.ImportGraph
) -> None:
    planted = copy.deepcopy(graph)
    assert importer in planted.modules, f"{importer} has moved: plant the import elsewhere"
    if imported not in planted.modules:
        planted.add_module(imported, is_squashed=True)
    planted.add_import(importer=importer, imported=imported)
    assert not kept(name, planted)


def test_each_contract_has_a_planted_import() -> None:
    assert {name for name, _, _ in PLANTED} == set(CONTRACTS)


def test_a_circle_that_is_let_be_is_made_of_type_hints_only() -> None:
    running = grimp.build_graph("tocsin", exclude_type_checking_imports=True, cache_dir=None)
    let_be = CONTRACTS["no cycles inside a room"].get("ignore_imports", [])
    pairs = [tuple(line.split(" -> ")) for line in let_be]
    assert [(a, b) for a, b in pairs if running.direct_import_exists(importer=a, imported=b)] == []


CORE = sorted(CONTRACTS["the core is pure"]["source_modules"])
# A new event takes a new id and the present time unless it is given others.
DRAWS = {"tocsin.events.ids", "tocsin.events.model"}
CLOCKS_AND_DICE = re.compile(
    r"\b(?:datetime\.(?:now|utcnow|today)|date\.today|time\.\w+|random\.\w+|secrets\.(?:token|choice|rand)\w*|uuid[1-4])\("
)


@pytest.mark.parametrize("module", [module for module in CORE if module not in DRAWS])
def test_the_core_reads_no_clock_and_throws_no_dice(module: str) -> None:
    _, room, *rest = module.split(".")
    place = ROOT / room / "tocsin" / room / "/".join(rest)
    trees = [
        ast.parse(file.read_text()) for file in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    ]
    calls = [ast.unparse(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call for call in calls if CLOCKS_AND_DICE.match(call)] == []


HEAVY = [
    "faust",
    "fastapi",
    "slack_sdk",
    "pdpyras",
    "aiokafka",
    "apscheduler",
    "aiohttp",
    "starlette",
    "uvicorn",
    "rich",
]


@pytest.mark.parametrize("module", ["tocsin.events", "tocsin.flows"])
def test_a_plain_import_loads_no_server_and_no_messenger(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


# --- the files ---


def test_a_file_stays_under_400_lines() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in sources(*CODE)}
    assert {name: lines for name, lines in lengths.items() if lines >= 400} == {}


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function, its docstring not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.body[0] if ast.get_docstring(node) else None
            spoken = (said.end_lineno or said.lineno) - said.lineno + 1 if said else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - spoken


def test_a_function_fits_on_a_screen() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name} has {lines} lines"
        for file in sources(*CODE)
        for name, lines in functions(ast.parse(file.read_text()))
        if lines > 40
    ]
    assert found == []


def test_a_public_name_says_what_it_gives() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in sources(*ROOMS)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not any(ast.unparse(decorator) in ("overload", "typing.overload") for decorator in node.decorator_list)
    ]
    assert found == []


def test_a_room_has_no_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "common", "base", "misc"}
    assert [str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*") if p.stem in drawers] == []
