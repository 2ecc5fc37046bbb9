"""The door to messengers: one POST, without retries, since a notice that goes back is the retry."""

import json
from collections.abc import Mapping
from typing import Final

import aiohttp

from shared.http import posting
from shared.http.posting import Attempt
from shared.kube.json import Json

SECONDS: Final = 5.0
"""Flagger's timeout."""


class Messengers:
    """Slack, Teams and the others, which differ only in their documents."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """The session must trust the environment for its proxies."""
        self._session = session

    async def post(self, url: str, body: Json, headers: Mapping[str, str], *, proxy: str) -> Attempt:
        """Never raises for anything that a server can do."""
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return await posting.post(self._session, url, data, headers, seconds=SECONDS, read=lambda _: True, proxy=proxy)
