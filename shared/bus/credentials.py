"""`python -m shared.bus.bootstrap credentials FILE [--rotate | --finish | --undo]`: an nkey for each user of NATS.

It writes the server's accounts, which hold public keys only, into FILE, and prints the Secrets with the seeds, one per
user, for `kubectl apply --server-side -f -`. Seeds are neither kept nor shown anywhere else, and nothing is asked of a
cluster: FILE is all the memory that this command has, and may lie in Git.

Run again it keeps the keys: FILE gets the rights of this version, and only users who have no key yet get one.

Servers must know a key before its owner comes with it, and know the old one until everybody has left it. So a rotation
has two halves: --rotate makes FILE accept both, --finish the new ones only. A seed that was lost on its way to the
cluster is taken back by --undo. A second rotation on top of an unfinished one is refused: it would shut out those who
still come with the oldest key.
"""

import argparse
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nkeys  # type: ignore[import-untyped]  # it ships no type information

from shared.bus import accounts, certificates, manifests
from shared.errors import Never

Keys = Mapping[str, tuple[str, ...]]
"""Public keys by user, the oldest first."""

Entropy = Callable[[int], bytes]

ROUTES: Final = "routes"
"""Not a user of clients: the word by which the servers of one cluster know each other."""

_USERS: Final = tuple(user.name for user in accounts.USERS)
_NOTE: Final = "# Made by `python -m shared.bus.bootstrap credentials`: public keys only, nothing in here is secret.\n"


@dataclass(frozen=True, slots=True)
class Made:
    """What becomes of FILE, and the Secrets to be printed: name → key → value."""

    config: str
    secrets: Mapping[str, Mapping[str, str]]


def secret_name(user: str) -> str:
    """The Secret with this user's seed, under the key `seed`."""
    return f"serinus-nats-{user}"


def first(entropy: Entropy) -> Made:
    """Keys for everybody, and the password between servers, which nats-server can do no other way than by a word."""
    made = completed({}, entropy)
    # A letter first: nats-server would read digits as a number.
    routes = {accounts.variable(ROUTES): f"p{entropy(24).hex()}"}
    return Made(made.config, {"serinus-nats": routes, **made.secrets})


def completed(before: Keys, entropy: Entropy) -> Made:
    """The same keys under the rights of this version, and one for each user who has none."""
    pairs = {user: _pair(entropy) for user in _USERS if user not in before}
    return Made(_config({user: before.get(user) or (pairs[user][0],) for user in _USERS}), _seeds(pairs))


def rotated(before: Keys, entropy: Entropy) -> Made:
    """Another key for everybody beside the one that they have. Raises Never if that is under way already."""
    if any(len(keys) > 1 for keys in before.values()):
        raise Never("a rotation is under way: end it with --finish, or take it back with --undo")
    pairs = {user: _pair(entropy) for user in _USERS}
    return Made(_config({user: (*before.get(user, ()), pairs[user][0]) for user in _USERS}), _seeds(pairs))


def finished(before: Keys) -> Made:
    """The newest key of everybody. Raises Never if nobody has two."""
    return Made(_config({user: keys[-1:] for user, keys in _under_way(before).items()}), {})


def undone(before: Keys) -> Made:
    """The oldest key of everybody. Raises Never if nobody has two."""
    return Made(_config({user: keys[:1] for user, keys in _under_way(before).items()}), {})


def _under_way(before: Keys) -> Keys:
    if all(len(keys) == 1 for keys in before.values()):
        raise Never("no rotation is under way")
    return before


def _pair(entropy: Entropy) -> tuple[str, str]:
    """(public key, seed) of a new user."""
    seed = nkeys.encode_seed(entropy(32), nkeys.PREFIX_BYTE_USER)
    pair = nkeys.from_seed(seed)
    return pair.public_key.decode(), seed.decode()


def _seeds(pairs: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    return {secret_name(user): {"seed": seed} for user, (_, seed) in pairs.items()}


def _config(keys: Keys) -> str:
    return _NOTE + accounts.render(nkeys=keys)


def main(arguments: Sequence[str], *, entropy: Entropy = secrets.token_bytes) -> int:
    """The command; answers its exit code. A failure leaves FILE as it was."""
    if "--tls" in arguments:
        return certificates.main([each for each in arguments if each != "--tls"])
    chosen = _parser().parse_args(arguments)
    file: Path = chosen.file
    try:
        made = _step(chosen, file, entropy)
        # The seeds first: those that nobody has got must not be the only ones that the servers will know.
        sys.stdout.write(manifests.secrets(made.secrets))
        sys.stdout.flush()
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(made.config)
        fresh.replace(file)
    except (Never, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.bus.bootstrap credentials",
        description="Makes an nkey for each NATS user: public keys go into FILE, Secrets are printed. "
        "With --tls it makes certificates instead: `credentials --tls --help`.",
    )
    parser.add_argument("file", type=Path, help="the servers' accounts.conf: public keys and rights; made, or changed")
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--rotate", action="store_true", help="make new keys; the old ones go on being accepted")
    step.add_argument("--finish", action="store_true", help="accept the new keys only, once everybody uses them")
    step.add_argument("--undo", action="store_true", help="accept the old keys only: the new Secrets got lost")
    return parser


def _step(chosen: argparse.Namespace, file: Path, entropy: Entropy) -> Made:
    if not file.exists() and not (chosen.rotate or chosen.finish or chosen.undo):
        return first(entropy)
    before = accounts.public_keys(file.read_text())
    if not before:
        raise Never(f"{file} holds no nkeys: it wasn't made by this command")
    if chosen.rotate:
        return rotated(before, entropy)
    if chosen.finish:
        return finished(before)
    return undone(before) if chosen.undo else completed(before, entropy)
