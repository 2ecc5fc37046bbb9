"""`python -m shared.bus.bootstrap credentials --tls`: a CA of Serinus's own, and the certificate of its NATS servers.

Two Secrets are printed, under the names that cert-manager's example has too. `serinus-nats-ca` holds the CA with its
key: nobody mounts it. `serinus-nats-tls` holds the servers' certificate, and as `ca.crt` whom all trust. Nothing is kept
elsewhere: later steps read `serinus-nats-ca` as kubectl prints it.

Without a step the servers get a fresh certificate of the same CA, which changes nothing for whoever connects. Another CA
comes in three steps, so that at each moment everybody trusts whoever shows a certificate: --rotate adds it to those who
are trusted; --finish, once all processes know both, lets it sign; the next renewal forgets the one before.
"""

import argparse
import ipaddress
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.bus import manifests
from shared.errors import Never
from shared.runtime.clock import SystemClock

CA_SECRET: Final = "serinus-nats-ca"
SERVER_SECRET: Final = "serinus-nats-tls"

_CA_DAYS: Final = 3650
_EARLIER: Final = timedelta(hours=1)
"""What clocks may differ by."""

_CLOCK: Final = SystemClock()

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign, in PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CA that signs, the one that will once a rotation is finished, and the one that did before."""

    current: Authority
    coming: Authority | None = None
    former: str = ""

    @property
    def trusted(self) -> str:
        """Everybody's `ca.crt`."""
        return self.current.certificate + (self.coming.certificate if self.coming else "") + self.former

    def data(self) -> Data:
        """The Secret's keys; the first two are cert-manager's as well."""
        found = {"tls.crt": self.current.certificate, "tls.key": self.current.key}
        if self.coming:
            found |= {"next.crt": self.coming.certificate, "next.key": self.coming.key}
        return found | ({"previous.crt": self.former} if self.former else {})


def read(data: Data) -> Authorities:
    """From the Secret. Raises Never when a key is missing."""
    if missing := {"tls.crt", "tls.key"} - data.keys():
        raise Never(f"the Secret has no {' and no '.join(sorted(missing))}")
    coming = Authority(data["next.crt"], data["next.key"]) if {"next.crt", "next.key"} <= data.keys() else None
    return Authorities(Authority(data["tls.crt"], data["tls.key"]), coming, data.get("previous.crt", ""))


def renewed(before: Authorities) -> Authorities:
    """The same CA; one that was replaced before is forgotten."""
    return Authorities(before.current, before.coming)


def rotated(before: Authorities, fresh: Authority) -> Authorities:
    """Raises Never if a rotation is under way already."""
    if before.coming:
        raise Never("a rotation is under way: end it with --finish, or take it back with --undo")
    return Authorities(before.current, fresh)


def finished(before: Authorities) -> Authorities:
    """The new CA signs, and the old one is trusted still. Raises Never if there is no new one."""
    if not before.coming:
        raise Never("no rotation is under way")
    return Authorities(before.coming, former=before.current.certificate)


def undone(before: Authorities) -> Authorities:
    """Raises Never if no rotation is under way."""
    if not before.coming:
        raise Never("no rotation is under way")
    return Authorities(before.current)


def server_names(namespace: str) -> tuple[str, ...]:
    """Clients come by the Service's name, servers to one another by the names of the pods."""
    services = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    return *(f"serinus-nats{each}" for each in services), *(f"*.serinus-nats-peers{each}" for each in services)


def authority(now: datetime) -> Authority:
    """A new CA, which signs certificates of servers and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"serinus-nats-ca {now:%Y-%m-%d}")])
    usage = _usage(signs=True)
    made = (
        _builder(name, name, key.public_key(), key.public_key(), now, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(made), _private(key))


def server(by: Authority, names: Sequence[str], now: datetime, days: int) -> Data:
    """`tls.crt` and `tls.key`, good for both sides of a connection: servers show it to each other too."""
    ca = x509.load_pem_x509_certificate(by.certificate.encode())
    signer = serialization.load_pem_private_key(by.key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise Never("the CA's key is none of this command's making: it makes EC keys")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    made = (
        _builder(name, ca.subject, key.public_key(), signer.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectAlternativeName([_named(each) for each in names]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return {"tls.crt": _pem(made), "tls.key": _private(key)}


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    by: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )


def _named(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def main(arguments: Sequence[str], *, now: Callable[[], datetime] = _CLOCK.now) -> int:
    """The command; answers its exit code. A failure prints no Secret."""
    chosen = _parser().parse_args(arguments)
    try:
        made = _step(chosen, now())
        names = (*server_names(chosen.namespace), *chosen.name)
        shown = {**server(made.current, names, now(), chosen.days), "ca.crt": made.trusted}
        sys.stdout.write(manifests.secrets({CA_SECRET: made.data(), SERVER_SECRET: shown}, "kubernetes.io/tls"))
        sys.stdout.flush()
    except (Never, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.bus.bootstrap credentials --tls",
        description=f"Prints the Secrets {CA_SECRET} and {SERVER_SECRET}: with a new CA, or going on from the one that is there.",
    )
    parser.add_argument(
        "ca", nargs="?", help=f"the Secret {CA_SECRET} as `kubectl get -o json` prints it; -: standard input"
    )
    parser.add_argument("--namespace", default="apisix", help="of the NATS servers: part of their names; apisix")
    parser.add_argument(
        "--name", action="append", default=[], help="a further name or address of the servers; may be repeated"
    )
    parser.add_argument("--days", type=int, default=365, help="until the servers' certificate expires; 365")
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "--rotate", action="store_true", help="make another CA, which everybody trusts beside the old one"
    )
    step.add_argument("--finish", action="store_true", help="let the new CA sign, once everybody knows it")
    step.add_argument("--undo", action="store_true", help="forget the new CA")
    return parser


def _step(chosen: argparse.Namespace, now: datetime) -> Authorities:
    if chosen.ca is None:
        if chosen.rotate or chosen.finish or chosen.undo:
            raise Never(
                f"for this the Secret {CA_SECRET} is needed, as `kubectl get -o json` prints it; -: standard input"
            )
        return Authorities(authority(now))
    before = read(manifests.data(sys.stdin.read() if chosen.ca == "-" else Path(chosen.ca).read_text()))
    if chosen.rotate:
        return rotated(before, authority(now))
    if chosen.finish:
        return finished(before)
    return undone(before) if chosen.undo else renewed(before)
