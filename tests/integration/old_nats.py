"""A server that greets like an older nats-server, and knows as much of its protocol as a bootstrap needs to be refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def old_nats(version: str, api_level: int) -> AsyncIterator[str]:
    """Answers its URL."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        greeting = {"server_id": "old", "version": version, "proto": 1, "max_payload": 1_000_000, "headers": True}
        writer.write(f"INFO {json.dumps(greeting)}\r\n".encode())
        sid = ""
        while line := await reader.readline():
            word, *rest = line.decode().split()
            if word == "PING":
                writer.write(b"PONG\r\n")
            elif word == "SUB":
                sid = rest[-1]
            elif word == "PUB":
                await reader.readexactly(int(rest[-1]) + 2)
                body = json.dumps({"type": "io.nats.jetstream.api.v1.account_info_response", "api": _api(api_level)})
                writer.write(f"MSG {rest[1]} {sid} {len(body)}\r\n{body}\r\n".encode())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


def _api(level: int) -> dict[str, int]:
    """Servers before 2.11 said no level at all."""
    return {"level": level, "total": 0, "errors": 0} if level else {"total": 0, "errors": 0}
