"""The way in: the scripts find a Python that runs, install what is missing, and say what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["bash", "sh", "env", "dirname", "sed", "head", "id", "cat", "mktemp"]


def script(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def find_python(*places: Path, wanted: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.pathsep.join(str(place) for place in places), "PYTHON": wanted}
    return subprocess.run(
        ["/bin/sh", str(ROOT / ".ci/python")], env=environment, capture_output=True, text=True, check=False
    )


def test_a_shim_with_nothing_behind_it_is_passed_over(tmp_path: Path) -> None:
    shims, real = tmp_path / "shims", tmp_path / "real"
    shims.mkdir()
    real.mkdir()
    script(shims, "python3.13", "exit 127")
    script(shims, "python3.12", "exit 127")
    script(real, "python3.12", f'exec {sys.executable} "$@"')
    assert find_python(shims, real).stdout.strip() == str(real / "python3.12")


def test_a_python_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    script(tmp_path, "python3.13", f'exec {sys.executable} "$@"')
    script(tmp_path, "python3.11", f'exec {sys.executable} "$@"')
    assert find_python(tmp_path, wanted="python3.11").stdout.strip() == str(tmp_path / "python3.11")


def test_without_a_python_the_way_out_is_said(tmp_path: Path) -> None:
    script(tmp_path, "python3", "exit 1")
    run = find_python(tmp_path)
    assert run.returncode == 1
    assert "Python 3.11 or newer" in run.stderr


@pytest.mark.parametrize("name", [".ci/run", ".ci/python", ".ci/constraints", "deploy/secrets.sh"])
def test_a_script_may_be_run_and_parses(name: str) -> None:
    file = ROOT / name
    shell = file.read_text().splitlines()[0].removeprefix("#!").split()[-1].rpartition("/")[2]
    assert os.access(file, os.X_OK)
    assert subprocess.run([shell, "-n", str(file)], check=False).returncode == 0


def test_make_knows_its_targets() -> None:
    wanted = {"setup", "demo", "dev", "test", "check", "bench", "fmt"}
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert wanted <= {line.split()[1] for line in help_text.splitlines() if line.startswith("make ")}


def machine(folder: Path, *, java: str | None, make: str = "exit 0") -> Path:
    """A PATH with few tools, an apt-get that only writes down what it is asked, and perhaps a Java of some version."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    script(folder, "python3.11", f'exec {sys.executable} "$@"')
    script(folder, "initdb", "exit 0")
    script(folder, "apt-get", f'echo "$@" >>{folder}/asked; exit 0')
    script(folder, "apt-cache", "exit 0")
    script(folder, "sudo", 'shift; [ "$1" = true ] || exec "$@"')
    script(folder, "make", make)
    if java:
        script(folder, "java", f"echo 'openjdk version \"{java}\" 2025' >&2")
        script(folder, "mvn", "exit 0")
    return folder


def ci(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / ".ci/run")], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


def test_ci_installs_what_is_missing_and_runs_all_commands(tmp_path: Path) -> None:
    path = machine(tmp_path / "bin", java=None, make='echo "making $*, CI=$CI"')
    run = ci(path)
    asked = (path / "asked").read_text().splitlines()
    assert (run.returncode, asked[0]) == (0, "-q update")
    assert [line.split()[-1] for line in asked[1:]] == ["openjdk-17-jre-headless", "maven"]
    made = [line for line in run.stdout.splitlines() if line.startswith("making")]
    assert made == [f"making {target}, CI=true" for target in ("demo", "test", "test MARKS=faults", "check")]


@pytest.mark.parametrize(
    ("version", "missing"), [("11.0.2", True), ("17.0.9", False), ("21", False), ("25.0.1", False)]
)
def test_ci_takes_java_17_or_newer(version: str, missing: bool, tmp_path: Path) -> None:
    path = machine(tmp_path / "bin", java=version)
    assert ci(path).returncode == 0
    assert (path / "asked").exists() is missing


def test_ci_stops_at_the_first_failure(tmp_path: Path) -> None:
    path = machine(tmp_path / "bin", java="17.0.9", make='echo "making $1"; [ "$1" = demo ]')
    run = ci(path)
    assert run.returncode != 0
    assert "making test" in run.stdout
    assert "making check" not in run.stdout
