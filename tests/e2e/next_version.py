"""The sources of a version that comes after this one: the same, with messages and a status of the next schema.

Each has a field that today's version doesn't know. An edit that finds no place to be made is an error.
"""

import shutil
from pathlib import Path
from typing import Final

from sandbox.scene import Scene
from services.router import status
from shared.runtime.metrics import VERSION
from shared.wire.messages import SCHEMA

TAG: Final = "next"
_ROOT: Final = Path(__file__).parents[2]
_CAUSE: Final = 'cause: str = Field(default="", description='
_EDITS: Final = (
    ("shared/wire/messages.py", f"SCHEMA: Final = {SCHEMA}\n", f"SCHEMA: Final = {SCHEMA + 1}\n"),
    ("shared/wire/messages.py", f"    {_CAUSE}", f'    grown: str = "a field of the next version"\n    {_CAUSE}'),
    ("services/router/status.py", f"SCHEMA: Final = {status.SCHEMA}\n", f"SCHEMA: Final = {status.SCHEMA + 1}\n"),
    (
        "services/router/status.py",
        "        schema=SCHEMA,\n",
        '        schema=SCHEMA,\n        grown={"by": "next"},\n',
    ),
    ("shared/runtime/metrics.py", f'VERSION: Final = "{VERSION}"\n', 'VERSION: Final = "99.0.0"\n'),
)
"""File, what is there once, and what takes its place."""


def offered(scene: Scene) -> None:
    """As an image that the nodes of this scene know: `serinus:next`."""
    folder = scene.stage.directory / TAG
    scene.runner.images[f"serinus:{TAG}"] = folder if folder.exists() else grown(folder)


def grown(folder: Path) -> Path:
    """Makes the tree in this folder, which mustn't exist; answers it."""
    for part in ("services", "shared"):
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in _EDITS:
        text = (folder / name).read_text()
        if text.count(old) != 1:
            raise ValueError(f"{name} has {old!r} {text.count(old)} times, and the next version changes it once")
        (folder / name).write_text(text.replace(old, new))
    return folder
