"""Composition of the command: from words to a verb on the real cluster, and from failures to a sentence and a code."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cli import arguments, canaries, direct, giving_back, overview, release, requests, takeover
from cli.arguments import PAUSE, RESUME, Arguments
from cli.canaries import Ref
from cli.ports import Api, Impatience, Patience, Pause, Refusal, Say
from services.router.rollout.inputs import Verb
from shared.errors import Never, RetryLater
from shared.kube import door
from shared.kube.json import Json
from shared.runtime.clock import Clock, SystemClock, new_id

FIELD_MANAGER: Final = "serinus-cli"
REFUSED, IMPATIENT = 1, 3


@dataclass(frozen=True, slots=True)
class Access:
    """A person's own way to the API server."""

    kubeconfig: str
    kube_url: str = ""
    kube_token_file: str = ""
    kube_ca_file: str = ""


async def main(argv: Sequence[str], say: Say) -> int:
    """The exit code."""
    asked = arguments.parse(argv)
    try:
        cluster = await door.connect(Access(asked.kubeconfig), field_manager=FIELD_MANAGER)
    except Never as error:
        return _told(error, REFUSED)
    try:
        await run(cluster, asked, SystemClock(), new_id, say, asyncio.sleep)
    except Impatience as error:
        return _told(error, IMPATIENT)
    except (Refusal, Never, RetryLater) as error:
        return _told(error, REFUSED)
    finally:
        await cluster.close()
    return 0


def _told(error: Exception, code: int) -> int:
    print(error, file=sys.stderr)
    return code


async def run(api: Api, asked: Arguments, clock: Clock, make_id: Callable[[], str], say: Say, pause: Pause) -> None:
    """One verb. Raises Refusal, or what the API raises."""
    patience = Patience(asked.timeout, clock.monotonic, pause)
    if asked.verb in {PAUSE, RESUME}:
        await _suspend(api, asked, patience, say)
    elif asked.verb in set(Verb):
        await _request(api, asked, patience, make_id, say)
    elif asked.verb == "status":
        await _status(api, asked, say)
    elif asked.verb == "release":
        await release.all_of(api, asked.namespace, asked.default_provider, dry_run=asked.dry_run, say=say)
    else:
        mine = await canaries.ours(api, asked.namespace, asked.default_provider)
        if asked.step == "check":
            await takeover.check(api, mine, clock.now(), say)
        else:
            await giving_back.back(api, mine, dry_run=asked.dry_run, say=say)


async def _one(api: Api, asked: Arguments) -> Json:
    return await canaries.one(api, asked.canary or Ref("", ""), asked.default_provider)


async def _request(api: Api, asked: Arguments, patience: Patience, make_id: Callable[[], str], say: Say) -> None:
    canary = await _one(api, asked)
    if asked.direct:
        value = await direct.abort(api, canary, make_id, say)
    else:
        value = await requests.ask(api, canary, Verb(asked.verb), make_id, say)
    if asked.wait:
        await requests.follow(api, canary, value, patience, say)


async def _suspend(api: Api, asked: Arguments, patience: Patience, say: Say) -> None:
    canary, wanted = await _one(api, asked), asked.verb == PAUSE
    await requests.suspend(api, canary, wanted, say)
    if asked.wait:
        await requests.follow_suspension(api, Ref.of(canary), wanted, patience, say)


async def _status(api: Api, asked: Arguments, say: Say) -> None:
    if asked.canary is None:
        overview.table(await canaries.ours(api, asked.namespace, asked.default_provider), say)
        return
    canary = await _one(api, asked)
    overview.table([canary], say)
    overview.story(canary, say)
