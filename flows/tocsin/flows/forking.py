"""The worker's side of a nursery: children that are born in milliseconds."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import msgspec

from tocsin.events.errors import Unavailable
from tocsin.flows.infrastructure import Exit, Handle
from tocsin.flows.nursery_words import PACKET, Birth, News

PROGRAM: Final = "tocsin.flows.nursery"
LOST: Final = Exit(-signal.SIGKILL, "the process that had started it has died, and it was ended with it")


class Offspring:
    """The process of one attempt, a child of the nursery."""

    def __init__(self, lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        self.born: asyncio.Future[int] = loop.create_future()
        self.gone: asyncio.Future[Exit] = loop.create_future()
        self.lifeline = lifeline
        self.pid = 0

    @property
    def place(self) -> str:
        """Its process id."""
        return f"process {self.pid}"

    async def wait(self) -> Exit:
        """Its exit code."""
        return await asyncio.shield(self.gone)

    def terminate(self) -> None:
        """SIGTERM to it and all that it started."""
        self._send(signal.SIGTERM)

    def kill(self) -> bool:
        """SIGKILL to it and all that it started."""
        self._send(signal.SIGKILL)
        return True

    def told(self, news: News) -> bool:
        """Take the news; whether it was the last."""
        if news.code is None:
            self.pid = news.pid
            self.born.set_result(news.pid)
            return False
        self.end(Exit(news.code))
        return True

    def end(self, how: Exit) -> None:
        """It is no more."""
        os.close(self.lifeline)
        self.gone.set_result(how)
        if not self.born.done():
            self.born.set_exception(Unavailable(how.said()))

    def _send(self, number: signal.Signals) -> None:
        if self.pid and not self.gone.done():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Forks:
    """A nursery and its children. It is started when it is needed, and again when it has died."""

    def __init__(self) -> None:
        self._children: dict[int, Offspring] = {}
        self._numbers = 0
        self._control: socket.socket | None = None
        self._opening = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start the nursery; it takes requests at once, and answers when it has imported what it needs."""
        async with self._opening:  # several starts may find that it has died
            if self._control is None:
                await self._open()

    async def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", PROGRAM, str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._hear)

    async def start(self, arguments: list[str], environment: dict[str, str], folder: str | None) -> Handle:
        """A new child. Raises Unavailable when the nursery died over it, OSError when it cannot be reached."""
        await self.open()
        assert self._control is not None
        theirs, lifeline = os.pipe()
        self._numbers += 1
        child = self._children[self._numbers] = Offspring(lifeline)
        try:
            birth = Birth(self._numbers, arguments, environment, folder)
            socket.send_fds(self._control, [msgspec.json.encode(birth)], [theirs])
        except OSError as error:
            del self._children[self._numbers]
            os.close(lifeline)
            if isinstance(error, ConnectionError):
                raise Unavailable(LOST.said()) from error
            raise
        finally:
            os.close(theirs)
        await child.born
        return child

    async def close(self) -> None:
        """Let it go."""
        self._lose()
        if self._process is not None:
            await self._process.wait()

    def _hear(self) -> None:
        if self._control is None:  # it was lost in the same turn of the loop
            return
        try:
            packet = self._control.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lose()
            return
        news = msgspec.json.decode(packet, type=News)
        if self._children[news.number].told(news):
            del self._children[news.number]

    def _lose(self) -> None:
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._control = None
        for child in self._children.values():
            child.kill()
            child.end(LOST)
        self._children.clear()
