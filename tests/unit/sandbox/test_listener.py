"""The body of every double closes what it opened, whenever a client comes."""

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web

from sandbox.listener import Listener


async def answer(_: web.BaseRequest) -> web.Response:
    return web.Response(text="here")


@pytest.mark.parametrize("turns", range(6))
async def test_a_client_that_comes_while_it_stops_is_sent_away(turns: int) -> None:
    """Turns of the loop between the client's connection, which the kernel makes, and `stop`."""
    listener = Listener(answer)
    await listener.start()
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.stop()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):  # as good
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""


async def test_what_a_cancelled_stop_left_open_the_next_one_ends() -> None:
    listener = Listener(answer)
    await listener.start()
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await asyncio.get_running_loop().sock_recv(client, 9) == b"HTTP/1.1 "
        stopping = asyncio.create_task(listener.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await listener.stop()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                while await asyncio.get_running_loop().sock_recv(client, 1000):
                    pass


async def test_it_can_be_started_again() -> None:
    listener = Listener(answer)
    for _ in range(2):
        await listener.start()
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.close()
        await listener.stop()
