"""What no module of ours does: proof that the test over imports would notice."""

import socket

socket.socket().close()
