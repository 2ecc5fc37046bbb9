"""`bootstrap credentials`: which keys are in the file and which seeds are printed, at each step."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # it ships no type information
import pytest

from shared.bus import accounts, credentials

USERS = {user.name for user in accounts.USERS}


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """The Secrets in what was printed."""
    out = capsys.readouterr().out
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in (json.loads(out)["items"] if out else [])
    }


def public(seed: str) -> str:
    key: bytes = nkeys.from_seed(seed.encode()).public_key
    return key.decode()


def newest(file: Path) -> dict[str, str]:
    return {user: keys[-1] for user, keys in accounts.public_keys(file.read_text()).items()}


def seeds(secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name.removeprefix("serinus-nats-"): data["seed"] for name, data in secrets.items() if "seed" in data}


@pytest.fixture
def file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "accounts.conf"
    assert credentials.main([str(path)]) == 0
    capsys.readouterr()
    return path


def test_everybody_gets_a_key_of_his_own_whose_public_half_is_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "accounts.conf"
    assert credentials.main([str(file)]) == 0
    secrets = printed(capsys)
    made = seeds(secrets)
    assert made.keys() == USERS
    assert len(set(made.values())) == len(USERS)
    assert {user: public(seed) for user, seed in made.items()} == newest(file)
    assert secrets["serinus-nats"]["NATS_PASSWORD_ROUTES"].startswith("p")


def test_the_file_holds_nothing_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "accounts.conf"
    for step in ([], ["--rotate"]):
        assert credentials.main([*step, str(file)]) == 0
        values = [value for data in printed(capsys).values() for value in data.values()]
        assert len(values) >= len(USERS)
        assert [value for value in values if value in file.read_text()] == []
    assert "password" not in file.read_text()


def test_once_made_keys_stay_and_the_rights_follow_the_version(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_text()
    file.write_text(before.replace('"serinus.dead.watcher"', '"of.an.older.version"'))
    assert credentials.main([str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert file.read_text() == before


def test_a_user_that_a_new_version_brings_gets_a_key_and_nobody_else(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = newest(file)
    file.write_text(file.read_text().replace("# notifier", "# gone"))
    assert credentials.main([str(file)]) == 0
    assert seeds(printed(capsys)).keys() == {"notifier"}
    after = newest(file)
    assert {user for user in USERS if after[user] != before[user]} == {"notifier"}


def test_a_rotation_accepts_both_keys_until_it_is_finished(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = newest(file)
    assert credentials.main(["--rotate", str(file)]) == 0
    secrets = printed(capsys)
    made = {user: public(seed) for user, seed in seeds(secrets).items()}
    assert accounts.public_keys(file.read_text()) == {user: (before[user], made[user]) for user in USERS}
    assert "serinus-nats" not in secrets, "the word between servers has no second value"
    assert credentials.main(["--finish", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert accounts.public_keys(file.read_text()) == {user: (made[user],) for user in USERS}


def test_a_rotation_whose_seeds_got_lost_is_taken_back(file: Path) -> None:
    before = file.read_text()
    assert credentials.main(["--rotate", str(file)]) == 0
    assert credentials.main(["--undo", str(file)]) == 0
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (["--rotate", "--rotate"], "a rotation is under way: end it with --finish, or take it back with --undo"),
        (["--finish"], "no rotation is under way"),
        (["--undo"], "no rotation is under way"),
    ],
)
def test_what_would_shut_somebody_out_is_refused_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], steps: list[str], complaint: str
) -> None:
    for step in steps[:-1]:
        assert credentials.main([step, str(file)]) == 0
    before = file.read_text()
    capsys.readouterr()
    assert credentials.main([steps[-1], str(file)]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{complaint}\n")
    assert file.read_text() == before


@pytest.mark.parametrize("step", [[], ["--rotate"]])
def test_a_file_that_isnt_the_commands_own_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: list[str]
) -> None:
    file = tmp_path / "accounts.conf"
    file.write_text("accounts {}")
    assert credentials.main([*step, str(file)]) == 1
    assert "holds no nkeys: it wasn't made by this command" in capsys.readouterr().err
    assert file.read_text() == "accounts {}"


def test_without_a_file_there_is_nothing_to_rotate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert credentials.main(["--rotate", str(tmp_path / "accounts.conf")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "accounts.conf" in told.err


def test_seeds_that_go_nowhere_dont_become_the_ones_that_servers_know(file: Path) -> None:
    """`… | kubectl` where kubectl isn't there: the pipe is closed."""
    before = file.read_text()
    assert run_into_a_closed_pipe(file) == 1
    assert file.read_text() == before


def run_into_a_closed_pipe(file: Path) -> int:
    child = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m shared.bus.bootstrap credentials --rotate {file} >&-"],
        capture_output=True,
        check=False,
    )
    return child.returncode
