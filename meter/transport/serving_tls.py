"""With what a listener of ours shows who it is: a certificate and its key, judged before they are used.

TLS 1.2 and newer. Nothing here asks for the time (decision 0019).
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from meter.model.errors import BadInput

# Who renews by hand needs days; certificates of 90 days are renewed 30 days before they end.
EXPIRES_SOON: Final = timedelta(days=14)
_NAMES_SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPair:
    """A certificate, its chain and key as OpenSSL serves them; whom it names, and from when to when."""

    context: ssl.SSLContext
    names: tuple[str, ...]
    begins_at: datetime
    ends_at: datetime

    @property
    def shown(self) -> str:
        """Return whom it names and when it ends, for people."""
        names = ", ".join(self.names[:_NAMES_SHOWN_MAX]) or "nobody: it has no alternative names, so clients refuse it"
        return f"names {names}; ends {self.ends_at:%Y-%m-%d}"

    def fault(self, at: datetime) -> str | None:
        """Return why clients refuse it at that instant, None where they take it."""
        if at >= self.ends_at:
            return f"METER_HTTP_TLS__CERT: the certificate ended on {self.ends_at:%Y-%m-%d}; renew it"
        if at < self.begins_at:
            return f"METER_HTTP_TLS__CERT: the certificate begins on {self.begins_at:%Y-%m-%d}; is the clock right?"
        return None


def serving_pair(cert_pem: str, key_pem: str) -> ServingPair:
    """Return what serves: the certificate first, whoever signed it behind it. Raises BadInput (`bad_certificate`)."""
    certificate = _certificate(cert_pem)
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad("METER_HTTP_TLS__KEY: is no private key (PEM, without a password)") from error
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise _bad(
            "METER_HTTP_TLS__KEY: the key does not fit the certificate; METER_HTTP_TLS__CERT holds first the "
            "certificate made for it, then whoever signed that"
        )
    return ServingPair(
        context=_context(cert_pem, key_pem),
        names=_names(certificate),
        begins_at=certificate.not_valid_before_utc,
        ends_at=certificate.not_valid_after_utc,
    )


def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError as error:
        raise _bad("METER_HTTP_TLS__CERT: holds no certificate (PEM)") from error


def _public(key: object) -> bytes:
    # Every kind of public key has it; cryptography has no common base to name.
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _context(cert_pem: str, key_pem: str) -> ssl.SSLContext:
    """Return a context of its own for every pair: loaded twice, one would keep both keys where their kinds differ."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL takes files only. This one is its owner's alone, and gone at the end of the block.
    with tempfile.NamedTemporaryFile("w", encoding="ascii", errors="ignore") as file:
        file.write(f"{key_pem}\n{cert_pem}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise _bad(f"METER_HTTP_TLS__CERT: OpenSSL does not take it: {error.reason or error}") from error
    return context


def _bad(message: str) -> BadInput:
    return BadInput(message, code="bad_certificate")
