"""A bearer token in a file that somebody rotates."""

import os
from pathlib import Path

from shared.errors import RetryLater


class TokenFile:
    """Reads the token again whenever the file is another one; a stat per request, which costs microseconds."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def header(self) -> str:
        """The value of `Authorization`. Raises RetryLater when there's no token: it may be mounted later."""
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen:
                self._token, self._seen = self._path.read_text().strip(), seen
        except OSError as error:
            if not self._token:  # else the last one is worth a try: a rotation replaces the file
                raise RetryLater(f"the token file can't be read: {error}") from error
        if not self._token:
            raise RetryLater(f"the token file {self._path} is empty")
        return f"Bearer {self._token}"
