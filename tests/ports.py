"""Ports for servers of the tests that have to know theirs beforehand, or keep it while they are down."""

import secrets
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port on loopback that nothing listens on at this moment.

    The system gives none away like it: no other server on port 0, and no connection, can take it meanwhile.
    """
    lowest = int(RANGE.read_text().split()[0]) if RANGE.exists() else 0
    for _ in range(100):
        port = 10_000 + secrets.randbelow(lowest - 10_000) if lowest > 20_000 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise RuntimeError(f"no port is free between 10000 and {lowest}")
