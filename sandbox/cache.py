"""Where the sandbox keeps what is expensive to get: built and unpacked programs. Safe to delete at any time."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder, created when missing: $SERINUS_CACHE, $XDG_CACHE_HOME/serinus or ~/.cache/serinus.

    It lies outside the checkout, so that several checkouts and CI jobs share one build.
    """
    own, common = os.environ.get("SERINUS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    path = Path(own) if own else Path(common or Path.home() / ".cache") / "serinus"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()
