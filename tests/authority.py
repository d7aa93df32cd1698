"""An authority of a test's own, and the certificates of servers that it signs."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meter.certificates import Authority, authority_of, new_key, self_signed
from meter.clock import now

DAY: Final = timedelta(days=1)


def authority() -> Authority:
    """Return an authority that nobody trusts yet."""
    key = new_key().decode()
    return authority_of(key, self_signed(key, operator="tests", at=now()))


def server_pair(signer: Authority, *, address: str = "127.0.0.1", ends_at: datetime | None = None) -> tuple[str, str]:
    """Return certificate and key of a server at that address, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = ends_at or now() + 60 * DAY
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 90 * DAY)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def trusting(signer: Authority) -> ssl.SSLContext:
    """Return a client's context that trusts this authority alone."""
    return ssl.create_default_context(cadata=signer.pem)


def write_new(path: Path, content: str) -> None:
    """Replace a file as somebody does who wants no reader to see the half of it."""
    written = path.with_suffix(".new")
    written.write_text(content)
    written.replace(path)
