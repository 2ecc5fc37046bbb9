"""`python -m shared.bus.bootstrap account [FILE]`: what somebody's own NATS must give us, as text that nats-server reads.

Comments say what can't be written as configuration (version, disk, numbers of streams and consumers); the rest are the
two accounts with their users and rights, without a system account, since that server has one. Users come with the
passwords of environment variables, or, if FILE is one of `bootstrap credentials`, with its public keys.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.bus import accounts, content, streams
from shared.bus.streams import Config

_MIB = 2**20


def needs(file: str = "", *, replicas: int = 3) -> str:
    """The text; `file` is what `bootstrap credentials` wrote."""
    keys = accounts.public_keys(file)
    passwords = {user.name: f"${accounts.variable(user.name)}" for user in accounts.USERS}
    ours, public = streams.streams(replicas), streams.public_streams(replicas)
    told = (
        "What Serinus needs of a NATS that isn't its own:",
        f"nats-server {content.OLDEST[0]}.{content.OLDEST[1]} or newer on every member (JetStream API level "
        f"{content.API_LEVEL}: message schedules), JetStream with file storage.",
        *_account(accounts.SERINUS, ours, f"{len(streams.durables())} consumers"),
        *_account(accounts.PUBLIC, public, f"up to {public[0]['max_consumers']} consumers, which subscribers make"),
        "The accounts may have other names, if exports and imports say so too. Without PUBLIC nobody outside follows",
        f"rollouts: leave {accounts.variable('public-bootstrap')} out of the Secret then.",
    )
    notes = "".join(f"# {line}\n" for line in told)
    return notes + accounts.render(passwords, keys, system=False)


def _account(name: str, configs: Sequence[Config], consumers: str) -> list[str]:
    size = sum(_bytes(each) for each in configs)
    copies = configs[0]["num_replicas"]
    return [
        f"Account {name}: {consumers}, {size // _MIB} MiB of disk for each of {copies} copies, streams:",
        *(f"  {each['name']}: {_bytes(each) // _MIB} MiB, discard {each['discard']}" for each in configs),
    ]


def _bytes(config: Config) -> int:
    return int(str(config["max_bytes"]))


def main(arguments: Sequence[str]) -> int:
    """`python -m shared.bus.bootstrap account …`; answers the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.bus.bootstrap account", description="Prints what a NATS of your own must give Serinus."
    )
    parser.add_argument("file", type=Path, nargs="?", help="accounts.conf of `bootstrap credentials`, for nkeys")
    parser.add_argument("--replicas", type=int, default=3, help="copies of each stream: SERINUS_NATS_REPLICAS; 3")
    chosen = parser.parse_args(arguments)
    try:
        file = chosen.file.read_text() if chosen.file else ""
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(needs(file, replicas=chosen.replicas))
    return 0
