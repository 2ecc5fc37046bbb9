"""Free TCP ports on the loopback for programs that have to be told theirs."""

import contextlib
import fcntl
import os
import random
import socket

from sandbox.cache import cache_dir

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): between our look and the
# program's bind, no client connection can slip in.
_RANGE = range(20_000, 32_000)
_BLOCK = 500
_left: list[int] = []
_random = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens on, which this process hasn't been given before and no other process is given meanwhile.

    Test processes side by side have blocks of their own: between a look and the program's bind is a second or two, and a
    server that was killed comes back to its port.
    """
    while True:
        while _left:
            if _bindable(port := _left.pop()):
                return port
        _left.extend(_another_block())


def _another_block() -> list[int]:
    """Ports that are ours until we end, in any order; the kernel lets go of the lock, however we end."""
    folder = cache_dir() / "ports"
    folder.mkdir(exist_ok=True)
    firsts = list(_RANGE[::_BLOCK])
    _random.shuffle(firsts)
    for first in firsts:
        lock = os.open(folder / str(first), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        block = list(range(first, first + _BLOCK))
        _random.shuffle(block)
        return block
    raise RuntimeError("no free port on the loopback")


def _bindable(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False
