"""`python slot_holder.py FOLDER SLOTS`: takes a slot of the limit `db` again and again until FOLDER/stop is there.

The witness knows nothing of tocsin: a file a slot, locked in the kernel while its holder is inside; the kernel unlocks
it when a process dies. Who finds none unlocked is one too many, and says so in FOLDER/exceeded.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tocsin.flows.concurrency import concurrency


@contextmanager
def witnessed(folder: Path, slots: int) -> Iterator[None]:
    """Holds one of the files; its text is who does."""
    for number in range(slots):
        file = (folder / f"slot-{number}").open("r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        with file:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            file.truncate(0)
        return
    with (folder / "exceeded").open("a") as said:
        said.write(f"{os.getpid()} at {time.time()}\n")
    yield


def main(folder: Path, slots: int) -> None:
    """Work until told to stop."""
    while not (folder / "stop").exists():
        with concurrency("db", timeout_seconds=60), witnessed(folder, slots):
            time.sleep(0.05)
            with (folder / f"done-{os.getpid()}").open("a") as done:
                done.write(".")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
