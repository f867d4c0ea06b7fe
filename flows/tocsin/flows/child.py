"""`python -m tocsin.flows.child FD`: a process that calls the functions of tasks for the one that started it.

Messages over the socket FD, told apart by their first byte: `S` the module search path, once; `J` a parcel to perform;
`R` ready; `Q` a question to the flow's process; `A` an answer, to a parcel or a question. It ends with who started it.
"""

import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from tocsin.flows.far import perform


def main(number: int) -> None:
    """Serve until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the flow, which ends this process
    connection = Connection(number)
    parcels: SimpleQueue[bytes] = SimpleQueue()
    answers: SimpleQueue[bytes] = SimpleQueue()
    asking, sending = threading.Lock(), threading.Lock()

    def receive() -> None:
        try:
            while True:
                message = connection.recv_bytes()
                (answers if message[:1] == b"A" else parcels).put(message[1:])
        except (EOFError, OSError):
            os._exit(1)  # whoever started us is gone, however much there is to do

    def send(message: bytes) -> None:
        with sending:
            connection.send_bytes(message)

    def ask(question: bytes) -> bytes:
        with asking:
            send(b"Q" + question)
            return answers.get()

    threading.Thread(target=receive, name="tocsin-wire", daemon=True).start()
    sys.path[:] = pickle.loads(parcels.get())  # noqa: S301 - from the process that started us
    send(b"R")
    while True:
        send(b"A" + perform(parcels.get(), ask))


if __name__ == "__main__":
    main(int(sys.argv[1]))
