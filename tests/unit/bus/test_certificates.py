"""`bootstrap credentials --tls`: who is trusted after which step, for how long, under which names."""

import base64
import io
import json
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from shared.bus import credentials, manifests
from shared.bus.certificates import CA_SECRET, SERVER_SECRET

Secrets = dict[str, dict[str, str]]


class Cluster:
    """Takes what the command prints, as `kubectl apply` does, and shows the CA's Secret."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self._capsys = folder / "ca.json", capsys

    def step(self, *arguments: str) -> Secrets:
        assert credentials.main(["--tls", *arguments]) == 0
        printed = json.loads(self._capsys.readouterr().out)["items"]
        for each in printed:
            if each["metadata"]["name"] == CA_SECRET:
                self.file.write_text(json.dumps(each))
        assert {each["type"] for each in printed} == {"kubernetes.io/tls"}
        return {
            each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
            for each in printed
        }

    def refused(self, *arguments: str) -> str:
        assert credentials.main(["--tls", *arguments]) == 1
        told = self._capsys.readouterr()
        assert told.out == ""
        return told.err


@pytest.fixture
def cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cluster:
    return Cluster(tmp_path, capsys)


def certificates(pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.encode())


def trusts(secrets: Secrets, others: Secrets, folder: Path) -> bool:
    """Does whoever has the first `ca.crt` let the servers of the second in?"""
    for key in ("tls.crt", "tls.key"):
        (folder / key).write_text(others[SERVER_SECRET][key])
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cadata=secrets[SERVER_SECRET]["ca.crt"])
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return _meet(client, serving)


def _meet(client: ssl.SSLContext, serving: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides: Sequence[ssl.SSLObject] = (
        client.wrap_bio(to_client, to_server, server_hostname="serinus-nats"),
        serving.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return True


def test_the_servers_have_the_names_by_which_they_are_called(cluster: Cluster) -> None:
    made = cluster.step("--namespace", "prod", "--name", "nats.example.com", "--days", "90")
    assert made.keys() == {CA_SECRET, SERVER_SECRET}
    (server,) = certificates(made[SERVER_SECRET]["tls.crt"])
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "serinus-nats", "serinus-nats.prod", "serinus-nats.prod.svc", "serinus-nats.prod.svc.cluster.local",
        "*.serinus-nats-peers", "*.serinus-nats-peers.prod", "*.serinus-nats-peers.prod.svc",
        "*.serinus-nats-peers.prod.svc.cluster.local", "nats.example.com",
    ]  # fmt: skip
    both = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(both) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    (ca,) = certificates(made[SERVER_SECRET]["ca.crt"])
    now = datetime.now(UTC)
    assert timedelta(days=89) < server.not_valid_after_utc - now < timedelta(days=91)
    assert timedelta(days=3600) < ca.not_valid_after_utc - now
    assert server.not_valid_before_utc < now


def test_the_cas_key_is_in_its_own_secret_only(cluster: Cluster) -> None:
    made = cluster.step()
    assert made[SERVER_SECRET].keys() == {"tls.crt", "tls.key", "ca.crt"}
    assert made[CA_SECRET]["tls.key"] not in made[SERVER_SECRET].values()
    assert made[CA_SECRET]["tls.crt"] == made[SERVER_SECRET]["ca.crt"]


def test_a_renewal_changes_the_certificate_and_nobodys_trust(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.step()
    second = cluster.step(str(cluster.file))
    assert second[SERVER_SECRET]["tls.key"] != first[SERVER_SECRET]["tls.key"]
    assert second[SERVER_SECRET]["ca.crt"] == first[SERVER_SECRET]["ca.crt"]
    assert trusts(first, second, tmp_path)
    assert trusts(second, first, tmp_path)


def test_in_a_rotation_each_step_and_the_one_before_trust_each_other(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.step()
    steps = [first, *(cluster.step(*flag, str(cluster.file)) for flag in (["--rotate"], ["--finish"], []))]
    for before, after in pairwise(steps):
        assert trusts(before, after, tmp_path)
        assert trusts(after, before, tmp_path)
    assert not trusts(first, steps[-1], tmp_path)
    assert not trusts(steps[-1], first, tmp_path)
    assert [len(certificates(each[SERVER_SECRET]["ca.crt"])) for each in steps] == [1, 2, 2, 1]
    assert steps[-1][CA_SECRET].keys() == {"tls.crt", "tls.key"}


def test_a_rotation_is_taken_back(cluster: Cluster) -> None:
    first = cluster.step()
    cluster.step("--rotate", str(cluster.file))
    assert cluster.step("--undo", str(cluster.file))[CA_SECRET] == first[CA_SECRET]


def test_a_renewal_in_the_middle_of_a_rotation_leaves_it_where_it_is(cluster: Cluster) -> None:
    cluster.step()
    rotated = cluster.step("--rotate", str(cluster.file))
    assert cluster.step(str(cluster.file))[CA_SECRET] == rotated[CA_SECRET]


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (["--rotate", "--rotate"], "a rotation is under way: end it with --finish, or take it back with --undo"),
        (["--finish"], "no rotation is under way"),
        (["--undo"], "no rotation is under way"),
    ],
)
def test_what_would_shut_somebody_out_is_refused(cluster: Cluster, steps: list[str], complaint: str) -> None:
    cluster.step()
    for step in steps[:-1]:
        cluster.step(step, str(cluster.file))
    assert cluster.refused(steps[-1], str(cluster.file)) == f"{complaint}\n"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("[]", "it isn't one Secret in JSON: `kubectl get secret NAME -o json` prints that"),
        ("nonsense", "Expecting value"),
        ('{"kind": "Secret", "data": {}}', "the Secret has no tls.crt and no tls.key"),
        ('{"kind": "Secret", "data": {"tls.crt": "eA==", "tls.key": "eA=="}}', ""),
    ],
)
def test_what_is_no_ca_is_named(cluster: Cluster, given: str, complaint: str) -> None:
    cluster.file.write_text(given)
    assert complaint in cluster.refused(str(cluster.file))


def test_a_step_without_the_ca_says_what_is_missing(cluster: Cluster) -> None:
    assert f"the Secret {CA_SECRET} is needed" in cluster.refused("--rotate")


def test_the_ca_may_come_by_standard_input(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cluster.step()
    monkeypatch.setattr("sys.stdin", io.StringIO(cluster.file.read_text()))
    assert cluster.step("-")[CA_SECRET] == first[CA_SECRET]


def test_what_is_printed_can_be_read_back() -> None:
    (printed,) = json.loads(manifests.secrets({"s": {"a": "ü"}}))["items"]
    assert manifests.data(json.dumps(printed)) == {"a": "ü"}
