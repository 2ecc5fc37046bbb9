"""The words of the command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cli.canaries import Ref
from services.router.rollout.inputs import Verb
from shared.canary.ownership import PROVIDER

_EPILOG: Final = """exit codes: 0 done; 1 refused, or the API server can't be asked; 2 wrong arguments; 3 --wait ran out of time.
Everything is done with the rights of your own kubeconfig, and nothing needs the bus."""
_VERBS: Final = {
    Verb.APPROVE: "open a gate of this rollout as its webhook would",
    Verb.PROMOTE: "end the analysis and promote now",
    Verb.ABORT: "end the analysis and roll back",
    Verb.RETRY: "analyse once more what failed",
}
PAUSE: Final = "pause"
RESUME: Final = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What was asked for. Fields that a verb doesn't have keep their defaults."""

    verb: str
    kubeconfig: str = ""
    default_provider: str = PROVIDER
    canary: Ref | None = None
    namespace: str = ""
    wait: bool = False
    timeout: float = 60.0
    direct: bool = False
    dry_run: bool = False
    step: str = ""


def parse(argv: Sequence[str]) -> Arguments:
    """Ends the process with code 2 on what can't be understood."""
    found = vars(_parser().parse_args(argv))
    found.pop("all", None)
    return Arguments(**found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cli", description="Canaries of Serinus, by hand.", epilog=_EPILOG)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--kubeconfig", default="", metavar="FILE", help="default: $KUBECONFIG, or ~/.kube/config")
    common.add_argument(
        "--default-provider", default=PROVIDER, metavar="NAME",
        help="what an empty spec.provider means; as SERINUS_MESH_PROVIDER (default: %(default)s)",
    )  # fmt: skip
    _add_overview(verbs.add_parser("status", parents=[common], help="where all canaries stand, or one and its story"))
    for verb, text in _VERBS.items():
        _add_request(verbs.add_parser(str(verb), parents=[common], help=text), direct=verb is Verb.ABORT)
    _add_request(verbs.add_parser(PAUSE, parents=[common], help="spec.suspend: true"))
    _add_request(verbs.add_parser(RESUME, parents=[common], help="spec.suspend: false"))
    _add_migration(verbs.add_parser("migrate", help="coming from Flagger, and going back"), common)
    release = verbs.add_parser("release", parents=[common], help="cut the ties by which objects go with a Canary")
    release.add_argument("--all", action="store_true", required=True, help="say that you mean all of them")
    _add_scope(release, dry_run=True)
    return parser


def _add_overview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("canary", nargs="?", type=Ref.parse, metavar="NAMESPACE/NAME")
    _add_scope(parser)


def _add_request(parser: argparse.ArgumentParser, *, direct: bool = False) -> None:
    parser.add_argument("canary", type=Ref.parse, metavar="NAMESPACE/NAME")
    parser.add_argument("--wait", action="store_true", help="until the router has taken it")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="of --wait (default: %(default)g)"
    )
    if direct:
        parser.add_argument("--direct", action="store_true", help="send all traffic to the primary without the router")


def _add_migration(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    _add_scope(steps.add_parser("check", parents=[common], help="what Serinus would do; changes nothing"))
    back = steps.add_parser("back", parents=[common], help="suspend what Flagger would analyse anew")
    _add_scope(back, dry_run=True)


def _add_scope(parser: argparse.ArgumentParser, *, dry_run: bool = False) -> None:
    parser.add_argument("-n", "--namespace", default="", help="default: all namespaces")
    if dry_run:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
