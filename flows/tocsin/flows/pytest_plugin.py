"""The pytest plugin: the fixture `flow_harness`.

It is loaded by every pytest that runs where tocsin is installed, so it imports nothing of tocsin before it is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tocsin.flows.testing import Harness


@pytest.fixture
def flow_harness() -> Iterator["Harness"]:
    """Flows that this test calls are recorded in an empty database of its own, and their waits take no time."""
    from tocsin.flows import testing

    with testing.flow_harness() as harness:
        yield harness
