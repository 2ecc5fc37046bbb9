"""Free TCP ports on the loopback for programs that have to be told theirs."""

import contextlib
import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): between our look and the
# program's bind, no client connection can slip in.
_RANGE = range(20_000, 32_000)
_given: set[int] = set()
_random = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens on and which this process hasn't been given before.

    Chosen at random rather than counted up, so that test processes side by side don't race for the same one.
    """
    for _ in range(1000):
        port = _random.choice(_RANGE)
        if port not in _given and _bindable(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port on the loopback")


def _bindable(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False
