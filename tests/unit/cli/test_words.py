"""The words of the command line, and what `status` shows."""

import re

import pytest

from cli import app, arguments
from cli.canaries import Ref
from cli.ports import Refusal
from services.router.rollout.inputs import Verb
from tests.repo.manifests import ROOT
from tests.story.theatre import Theatre, guide, initialized, progressing
from tests.unit.cli.stage import Person


@pytest.mark.parametrize("words", [
    "", "frobnicate", "release", "release --all somewhere", "migrate", "abort", "abort podinfo", "abort a/b/c", "abort /b",
    "promote a/b --direct", "migrate check --dry-run",
])  # fmt: skip
def test_what_can_not_be_understood_ends_with_code_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(words.split())
    assert ended.value.code == 2
    assert "usage: python -m cli" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [*Verb, "pause", "resume"])
def test_each_request_takes_a_canary_and_may_be_followed(verb: str) -> None:
    asked = arguments.parse([verb, "test/podinfo", "--wait", "--timeout", "5"])
    assert (asked.verb, asked.canary, asked.wait, asked.timeout) == (verb, Ref("test", "podinfo"), True, 5.0)


async def test_a_kubeconfig_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert await app.main(["status", "--kubeconfig", "/nonexistent/config"], print) == app.REFUSED
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("no way to the Kubernetes API: ")


@pytest.mark.parametrize("command", ["status", "abort", "abort --direct", "pause", "promote"])
async def test_a_canary_that_is_not_there_or_not_ours_is_refused(command: str) -> None:
    canary = guide("canary")
    canary["spec"]["provider"] = "istio"
    theatre = Theatre(canary)
    person = Person(theatre)
    with pytest.raises(Refusal, match=r"^test/podinfo is not Serinus's: its provider is istio$"):
        await person.types(f"{command} test/podinfo")
    with pytest.raises(Refusal, match=r"^there is no Canary test/other$"):
        await person.types(f"{command} test/other")
    assert theatre.cluster.writes == []


async def test_an_empty_provider_is_what_the_router_was_told() -> None:
    canary = guide("canary")
    canary["spec"].pop("provider", None)
    person = Person(Theatre(canary))
    assert len(await person.types("status")) == 2
    assert await person.types("status --default-provider istio") == ["no Canary of Serinus here"]


class TestStatus:
    async def test_a_table(self) -> None:
        theatre = await progressing(steps=2)
        revision = theatre.canary["status"]["serinus"]["revision"][:8]
        assert await Person(theatre).types("status") == [
            "CANARY        PHASE        WEIGHT  FAILED  REVISION  WHY NOT ON",
            f"test/podinfo  Progressing  30      0       {revision}",
        ]

    async def test_new_ones_and_none(self) -> None:
        theatre = Theatre()
        person = Person(theatre)
        assert (await person.types("status"))[1].split() == ["test/podinfo", "-", "0", "0", "-"]
        assert await person.types("status -n elsewhere") == ["no Canary of Serinus here"]

    async def test_one_with_its_story(self) -> None:
        theatre = await initialized()
        lines = await Person(theatre).types("status test/podinfo")
        assert lines[2].startswith("2026-01-01T00:00:00Z  Warning  podinfo-primary.test not ready: waiting for rollout")
        assert lines[3:] == [
            "2026-01-01T00:00:00Z  Normal   all the metrics providers are available!",
            "2026-01-01T00:00:00Z  Normal   Initialization done! podinfo.test",
        ]

    async def test_says_what_is_in_the_way(self) -> None:
        theatre = await progressing()
        person = Person(theatre)

        async def why() -> str:
            return (await person.types("status test/podinfo"))[1].partition(revision)[2].strip()

        revision = theatre.canary["status"]["serinus"]["revision"][:8]
        theatre.ask("abort:1")
        assert await why() == "asked to abort"
        theatre.edit({"metadata": {"annotations": {"serinus.dev/request": None}}})

        gone = theatre.cluster.remove("ApisixRoute", "podinfo")
        await theatre.fact()
        text = 'APISIX route podinfo.test get query error: apisixroutes.apisix.apache.org "podinfo" not found'
        assert await why() == text
        theatre.cluster.put(gone)
        await theatre.fact()
        assert await why() == ""

        theatre.edit({"spec": {"analysis": {"stepWeights": [20, 10]}}})
        await theatre.fact()
        assert await why() == "refused: spec.analysis.stepWeights must rise: 20, 10"
        theatre.edit({"spec": {"suspend": True}})
        assert await why() == "suspended"

    async def test_says_who_holds_it(self) -> None:
        theatre = await progressing()
        theatre.clock.time = theatre.clock.now().replace(second=59)
        theatre.cluster.time = "2026-01-01T00:00:59Z"
        theatre.cluster.write_status("Canary", "podinfo", {"failedChecks": 3}, "flagger")
        await theatre.fact()
        [_, line, *_] = await Person(theatre).types("status test/podinfo")
        assert line.endswith("another controller (flagger) writes this Canary")


class TestThePage:
    PAGE = (ROOT / "docs/cli.md").read_text()

    def test_every_command_that_it_lists_is_understood(self) -> None:
        rows = re.findall(r"^\| `([^`]+)` \| ", self.PAGE, re.MULTILINE)
        for row in rows:
            words = row.replace("[", "").replace("]", "").replace("NAMESPACE/NAME", "a/b").replace("NAMESPACE", "a")
            arguments.parse(words.split())
        listed = {row.split()[0] for row in rows}
        assert listed == {"status", *Verb, "pause", "resume", "migrate", "release"}

    async def test_what_it_shows_is_what_is_said(self) -> None:
        shown = re.findall(r"\$ \S+ -m cli (abort .*)\n((?:test/.*\n)+)", self.PAGE)
        assert len(shown) == 2
        for command, transcript in shown:
            theatre = await progressing()
            assert await Person(theatre, theatre.fact).types(command) == transcript.splitlines()
