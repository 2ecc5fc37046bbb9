"""Where the Prometheus of the sandbox comes from, with apt and dpkg played by two small scripts."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

APT_GET = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  *Dir::State::Lists*" download "*) : > prometheus_2.42_amd64.deb ;;
  *" download "*) echo "E: Unable to locate package prometheus" >&2; exit 100 ;;
  *" update"*) echo "E: some other source is away" >&2; exit 100 ;;
esac
"""
DPKG = """#!/bin/sh
/bin/mkdir -p "$3/usr/bin" && printf '#!/bin/sh\\n' > "$3/usr/bin/prometheus" && /bin/chmod +x "$3/usr/bin/prometheus"
"""
NOTHING = "#!/bin/sh\necho 'E: no network here' >&2\nexit 100\n"


class Machine:
    """A PATH with nothing on it but what a test installs, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.cache = folder / "cache"
        self.log = folder / "log"
        self.log.touch()

    def install(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(script)
        program.chmod(0o755)

    async def ensure(self) -> tuple[int, str, str]:
        """As `make` does it: return code, output, errors."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbox.prometheus",
            env={"PATH": str(self.programs), "SERINUS_CACHE": str(self.cache), "LOG": str(self.log)},
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out.decode(), err.decode()

    def downloads(self) -> int:
        return sum(" download " in line for line in self.log.read_text().splitlines())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_one_on_path_is_taken(machine: Machine) -> None:
    machine.install("prometheus", NOTHING)
    code, out, _ = await machine.ensure()

    assert (code, out.strip()) == (0, str(machine.programs / "prometheus"))


async def test_debians_is_downloaded_once_however_many_want_it(machine: Machine) -> None:
    machine.install("apt-get", APT_GET)
    machine.install("dpkg", DPKG)
    results = await asyncio.gather(*(machine.ensure() for _ in range(3)))

    program = machine.cache / "prometheus" / "usr" / "bin" / "prometheus"
    assert [(code, out.splitlines()[-1]) for code, out, _ in results] == [(0, str(program))] * 3
    assert os.access(program, os.X_OK)
    assert machine.downloads() == 2  # in vain with the lists that were there, then with our own
    assert not list(machine.cache.glob("*.new"))


@pytest.mark.parametrize("apt", ["", NOTHING], ids=["no apt", "apt in vain"])
async def test_where_none_can_be_had_one_sentence_says_so(machine: Machine, apt: str) -> None:
    if apt:
        machine.install("apt-get", apt)
        machine.install("dpkg", DPKG)
    code, _, err = await machine.ensure()

    assert code == 1
    (line,) = err.splitlines()
    assert "please install it" in line
    assert "Traceback" not in line
    assert not list(machine.cache.glob("*.new"))
