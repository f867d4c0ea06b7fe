"""What is installed is what is here: the wheel has every module of every room, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = sorted(folder.parent.name for folder in ROOT.glob("*/tocsin") if not folder.parent.name.startswith("."))
# What the demo plays lies among the examples, and has to be there without the repository too.
BROUGHT_ALONG: dict[str, str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_has_every_file_of_every_room_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    here = {
        str(file.relative_to(ROOT / room))
        for room in ROOMS
        for file in (ROOT / room / "tocsin").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert there == here | set(BROUGHT_ALONG.values())


def test_the_wheel_names_its_command_its_tables_and_its_licence(wheel: zipfile.ZipFile) -> None:
    (points,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    text = wheel.read(points).decode()
    assert "tocsin = tocsin.server.cli:main" in text
    owners = {room for room in ROOMS if (ROOT / room / "tocsin" / room / "tables.py").exists()}
    assert {room for room in ROOMS if f"{room} = tocsin.{room}.tables" in text} == owners
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
