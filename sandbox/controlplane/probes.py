"""Kubernetes' probes, really asked: HTTP and TCP, with their periods, timeouts and thresholds."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from sandbox.controlplane.api import Json


async def results(probe: Json, port: int) -> AsyncGenerator[bool, None]:
    """Each change of a probe's verdict, the first one included; ends never."""
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
    verdict: bool | None = None
    last, in_a_row = None, 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while True:
            passed = await _ask(session, probe, port)
            in_a_row = in_a_row + 1 if passed is last else 1
            last = passed
            if passed is not verdict and in_a_row >= needed[passed]:
                verdict = passed
                yield passed
            await asyncio.sleep(probe.get("periodSeconds", 10))


async def _ask(session: aiohttp.ClientSession, probe: Json, port: int) -> bool:
    """One question. Whatever port the manifest names, the process was told to listen on `port`."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "httpGet" in probe:
                url = f"http://127.0.0.1:{port}{probe['httpGet'].get('path', '/')}"
                async with session.get(url, allow_redirects=False) as answer:
                    return 200 <= answer.status < 400
            if "tcpSocket" in probe:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return True
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    raise NotImplementedError(f"the fake kubelet doesn't know this probe: {sorted(probe)}")
