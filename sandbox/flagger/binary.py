"""Finds Flagger's program, and builds it when it is missing.

`python -m sandbox.flagger.binary`; only benchmarks and recordings need it.
"""

import os
import sys
from pathlib import Path
from typing import Final

from sandbox import gobuild
from sandbox.cache import cache_dir
from sandbox.gobuild import BinariesMissing, Recipe

VERSION: Final = "1.44.0"
_RECIPE: Final = Recipe(
    module=Path(__file__).parent / "gomod",
    packages={"flagger": "github.com/fluxcd/flagger/cmd/flagger"},
    ldflags="-s -w",
    cost="3 to 10 minutes on 2 cores, 2 GB of disk meanwhile, 60 MB kept",
)


def ensure() -> Path:
    """The program; built first when it is missing."""
    program = _program()
    if not os.access(program, os.X_OK):
        gobuild.build([_RECIPE], program.parent, lambda _: [] if os.access(program, os.X_OK) else ["flagger"])
    return program


def _program() -> Path:
    return cache_dir() / f"flagger-{VERSION}" / "flagger"


def main() -> int:
    """Build what is missing and say where it lies."""
    try:
        print(ensure())
    except BinariesMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
