"""The key with which the API server signs service account tokens, made without any library or program.

An EC private key is just a number below the order of its curve, and Go derives the public half when it reads one, so
ten lines of DER do what would otherwise need OpenSSL on the machine. For servers on the loopback of a test only.
"""

import base64
import secrets

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_OID = bytes.fromhex("06082a8648ce3d030107")


def private_key_pem() -> str:
    """A new P-256 private key as SEC 1 PEM (`EC PRIVATE KEY`)."""
    number = (secrets.randbelow(_P256_ORDER - 1) + 1).to_bytes(32, "big")
    # SEQUENCE { INTEGER 1, OCTET STRING number, [0] { OID P-256 } }; every length here is below 128: one byte.
    inner = _der(0x02, b"\x01") + _der(0x04, number) + _der(0xA0, _P256_OID)
    text = base64.encodebytes(_der(0x30, inner)).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n"


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content
