"""Attempts that end while others are being written down are written down together, in one transaction."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from tocsin.notifiers.claims import Claimed
from tocsin.notifiers.delivery import Step
from tocsin.notifiers.endings import Tried, record_all
from tocsin.store.engine import AWAY, Store


class _Ended(NamedTuple):
    claimed: Claimed
    tried: Tried
    written: "asyncio.Future[Step | None]"


class Recorder:
    """Writes down how attempts went, for one event loop."""

    def __init__(self, store: Store, jitter: Callable[[], float]) -> None:
        self._store, self._jitter = store, jitter
        self._ended: list[_Ended] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(self, claimed: Claimed, tried: Tried) -> Step | None:
        """What `endings.record` gives, once it is written down; raises what the transaction raised."""
        one = _Ended(claimed, tried, asyncio.get_running_loop().create_future())
        self._ended.append(one)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await one.written

    async def close(self) -> None:
        """Let what is being written down be finished."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        while self._ended:
            batch, self._ended = self._ended, []
            try:
                await self._together(batch)
            except AWAY as error:
                _tell(batch, error)
            except Exception as error:  # a defect that one of them meets must not stop the others
                if len(batch) == 1:
                    _tell(batch, error)
                for one in batch if len(batch) > 1 else []:
                    await self._alone(one)
            except BaseException as error:
                _tell(batch, error)
                raise

    async def _together(self, batch: list[_Ended]) -> None:
        ended = [(one.claimed, one.tried) for one in batch]
        steps = await self._store.run(lambda session: record_all(session, ended, self._jitter))
        for one, step in zip(batch, steps, strict=True):
            if not one.written.done():
                one.written.set_result(step)

    async def _alone(self, one: _Ended) -> None:
        try:
            await self._together([one])
        except Exception as error:
            _tell([one], error)


def _tell(batch: list[_Ended], error: BaseException) -> None:
    for one in batch:
        if one.written.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            one.written.cancel()
        else:
            one.written.set_exception(error)
