"""What holds for the repository as a whole: nothing of anybody's machine in it, versions pinned, papers in order."""

from __future__ import annotations

import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tocsin.events.codec import EARLIEST, FUTURE, MAX_BYTES, MAX_DEPTH, MAX_LABELS, MAX_RELATED, read
from tocsin.events.model import Event
from tocsin.events.topics import TOPICS

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINNED = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in CONSTRAINTS if "==" in line}

# Written so that the patterns do not find themselves.
REGISTRIES = re.compile(
    r"\b(?:(?:pypi|pythonhosted|npmjs|rubygems|crates)\.(?:org|io|com)|(?:quay|ghcr|docker)\.io|repo\d*\.maven|proxy\.golang)\b"
    r"|--(?:extra-)?index[-]url|find[-]links"
)
MACHINES = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")


def files() -> list[Path]:
    """Every text file of the repository, those not yet committed among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1024]]


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize(
    ("pattern", "text", "hit"),
    [
        (REGISTRIES, "https://" + "pypi" + ".org/simple", True),
        (REGISTRIES, "image: " + "quay" + ".io/x:1", True),
        (REGISTRIES, "--index" + "-url x", True),
        (REGISTRIES, "docker.iothing, maven.apache.org/POM", False),
        (MACHINES, "/" + "work/main/x", True),
        (MACHINES, "see /" + "home/ann/notes", True),
        (MACHINES, "docs/work/x and /var/lib", False),
    ],
    ids=["index", "image", "option", "no registry", "work folder", "home folder", "no machine"],
)
def test_the_patterns_find_what_they_should(pattern: re.Pattern[str], text: str, hit: bool) -> None:
    assert bool(pattern.search(text)) is hit


def test_no_package_registry_is_named() -> None:
    assert found(REGISTRIES) == []


def test_no_path_of_somebodys_machine_is_named() -> None:
    assert found(MACHINES) == []


# --- versions ---


def requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_a_dependency_has_an_exact_version_that_pyproject_allows(requirement: Requirement) -> None:
    pinned = PINNED.get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} is missing in constraints.txt: make constraints"
    assert requirement.specifier.contains(Version(pinned), prereleases=True)


def test_a_constraint_is_a_name_and_a_version_and_nothing_else() -> None:
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line)] == []


def test_a_dependency_has_a_lower_bound() -> None:
    typing_only = {"types-python-dateutil", "types-pyyaml"}
    loose = {r.name for r in requirements() if not any(s.operator in (">=", "~=", "==") for s in r.specifier)}
    assert loose <= typing_only


# --- papers ---


def test_the_changelog_has_an_unreleased_part_and_known_headings() -> None:
    headings = re.findall(r"^(#{2,3}) (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("##", "[Unreleased]")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {title for level, title in headings if level == "###"} <= kinds


def test_the_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", [p for p in files() if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_link_between_pages_leads_somewhere(page: Path) -> None:
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_the_topics_in_the_docs_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(tocsin\.[\w.-]+)` \| (.+?) \| (\d+) \| (\d+) days? \|$", events_page(), re.MULTILINE)
    assert rows == [(t.name, t.purpose, str(t.partitions), str(t.retention.days)) for t in TOPICS]


def test_the_event_in_the_docs_is_one() -> None:
    (example,) = re.findall(r"^```json\n(.+?)^```", events_page(), re.MULTILINE | re.DOTALL)
    event = read(example, datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
    assert (event.event, event.resource_id) == ("orders.repaired", "orders.2026-03-01")
    assert set(re.findall(r'^  "(\w+)":', example, re.MULTILINE)) == set(Event.__struct_fields__)


def test_the_limits_in_the_docs_are_those_of_the_code() -> None:
    page = " ".join(events_page().split())
    assert f"more than {MAX_BYTES:,} bytes, deeper than {MAX_DEPTH} levels, more than {MAX_LABELS} labels" in page
    assert f"at most {MAX_RELATED} |" in page
    assert f"before the year {EARLIEST.year} or more than a day ahead" in page
    assert FUTURE.days == 1


def events_page() -> str:
    return (ROOT / "docs/events.md").read_text()
