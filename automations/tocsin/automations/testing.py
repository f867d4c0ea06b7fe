"""The pytest plugin: `automation_tester` makes a `Tester`, and a test that fails tells what its automations did.

It is loaded by every pytest that runs where tocsin is installed, so it imports nothing of tocsin before it is used.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tocsin.automations.tester import Tester

_TESTERS: "pytest.StashKey[list[Tester]]" = pytest.StashKey()


@pytest.fixture
def automation_tester(request: pytest.FixtureRequest) -> "Callable[..., Tester]":
    """Make a `Tester` of automations, or of files and modules that define them: `automation_tester("rules.yaml")`."""
    from tocsin.automations.tester import a_tester

    made: list[Tester] = []
    request.node.stash[_TESTERS] = made

    def make(*given: Any, **options: Any) -> "Tester":  # Any: what `a_tester` takes
        made.append(a_tester(*given, **options))
        return made[-1]

    return make


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add to the report of a test that fails what its automations did, and why."""
    outcome: Any = yield  # Any: pluggy's result of the hook
    report: pytest.TestReport = outcome.get_result()
    if report.when == "call" and report.failed:
        for tester in item.stash.get(_TESTERS, ()):
            report.sections.append(("automations", tester.story()))
