"""Mutual TLS at the counter's door: who has no certificate of the authority does not even get to ask."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.intake.api_server import Door, listening


class Pair(NamedTuple):
    """A certificate with its key, in files."""

    certificate: Path
    key: Path


def issue(directory: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None) -> tuple[Pair, Any]:
    """A certificate: of the issuer, or of itself where there is none, and then it is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    by, with_ = issuer or (subject, key)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(with_, hashes.SHA256())
    )
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair.key.write_bytes(private)
    return pair, (subject, key)


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


async def test_only_certificates_of_the_authority_get_in(tmp_path: Path) -> None:
    ours, authority = issue(tmp_path, "authority")
    counter, _ = issue(tmp_path, "counter", authority)
    hospital, _ = issue(tmp_path, "hospital", authority)
    _, another = issue(tmp_path, "another")
    stranger, _ = issue(tmp_path, "stranger", another)
    door = Door("127.0.0.1", 0, 1.0, str(counter.certificate), str(counter.key), str(ours.certificate))
    async with listening(app, door) as url, aiohttp.ClientSession() as session:
        assert url.startswith("https://")
        for pair, welcome in ((hospital, True), (stranger, False), (None, False)):
            context = ssl.create_default_context(cafile=str(ours.certificate))
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            if welcome:
                async with session.get(url, ssl=context) as answer:
                    assert await answer.read() == b"in"
            else:
                with pytest.raises((aiohttp.ClientError, OSError)):
                    await session.get(url, ssl=context)


async def test_the_door_without_a_certificate_is_plain() -> None:
    async with listening(app, Door("127.0.0.1", 0, 1.0)) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (url[:7], await answer.read()) == ("http://", b"in")
