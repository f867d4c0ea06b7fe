"""The buses that an embedded host reads from."""

import pytest

from tests.automations.parts import a_clock
from tocsin.events.bus import Bus
from tocsin.events.memory import MemoryBus
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus


@pytest.fixture(params=["memory", "log"])
def bus(request: pytest.FixtureRequest, store: Store) -> Bus:
    """The memory bus and the log of the store."""
    return MemoryBus() if request.param == "memory" else LogBus(store, a_clock())
