"""Certificates of agents on site: an authority of our own, what it signs, and the list of what it takes back.

RFC 5280; P-256 throughout. Nothing here asks for the time or keeps anything (decision 0017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meter.model.errors import BadInput

# RFC 5280, appendix A: ub-common-name. Mosquitto takes the common name for the user's.
NAME_CHARS_MAX: Final = 64
# A year, so that a site that was closed for a season comes back by itself; who is shut out is on the list.
LIFE: Final = timedelta(days=365)
_AUTHORITY_LIFE: Final = timedelta(days=20 * 365)
# A broker's clock may be behind.
_SLACK: Final = timedelta(minutes=5)
_REASON: Final = x509.ReasonFlags.cessation_of_operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who signs."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """Return the certificate, PEM."""
        return _pem(self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate: its serial number (hexadecimal), PEM, and when it ends."""

    serial: str
    pem: str
    issued_at: datetime
    expires_at: datetime


def common_name(site: str, edge: str) -> str:
    """Return what an agent is called in its certificate, and so by a broker: no site has a colon in its name."""
    return f"{site}:{edge}"


def new_key() -> bytes:
    """Return a new private key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def self_signed(key_pem: str, *, operator: str, at: datetime) -> str:
    """Return the authority's own certificate, PEM. Raises BadInput (`bad_key`)."""
    key = _private(key_pem)
    name = _name(f"agents of {operator}"[:NAME_CHARS_MAX])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _builder(name, key.public_key(), issuer=name, begins=at - _SLACK, ends=at + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(made)


def authority_of(key_pem: str, certificate_pem: str) -> Authority:
    """Return the authority. Raises BadInput: `bad_key`; `wrong_authority` where the key is not the certificate's."""
    key, certificate = _private(key_pem), x509.load_pem_x509_certificate(certificate_pem.encode())
    if certificate.public_key() != key.public_key():
        message = (
            "METER_EDGES__CA_KEY: agents' certificates are signed with another key, so no broker would trust these; set"
            " the key that was first (of a gateway without one: edge-ca.key in its data directory)"
        )
        raise BadInput(message, code="wrong_authority")
    return Authority(key=key, certificate=certificate)


def requested_key(request_pem: str) -> bytes:
    """Return the public key (DER) whose owner signed the request. Raises BadInput (`bad_request`)."""
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise BadInput(
                "the request's key is not of the curve P-256; meter-edge enroll makes one", code="bad_request"
            )
        key.verify(request.signature, request.tbs_certrequest_bytes, ec.ECDSA(hashes.SHA256()))
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        message = "this is no certificate request (PKCS #10, PEM) signed by its own key; meter-edge enroll makes one"
        raise BadInput(message, code="bad_request") from error
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def issue(authority: Authority, public_key: bytes, *, site: str, edge: str, at: datetime) -> Issued:
    """Return a certificate of the agent's for its public key (DER), good for clients only."""
    key = serialization.load_der_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):  # as `requested_key` has seen
        raise BadInput("the key kept of this agent is not of the curve P-256; enroll it again", code="bad_request")
    issuer = authority.certificate
    ends = min(at + LIFE, issuer.not_valid_after_utc).replace(microsecond=0)
    name = common_name(site, edge)
    signing = authority.key.public_key()
    made = (
        _builder(_name(name), key, issuer=issuer.subject, begins=at - _SLACK, ends=ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"meter:{site}/{edge}")]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Issued(serial=f"{made.serial_number:x}", pem=_pem(made), issued_at=at, expires_at=ends)


def revocation_list(authority: Authority, revoked: Iterable[tuple[str, datetime]], *, at: datetime) -> str:
    """Return the list (PEM) of serial numbers with when each was taken back.

    It ends with the authority: a broker whose list has run out turns everybody away.
    """
    issuer = authority.certificate
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(at - _SLACK)
        .next_update(issuer.not_valid_after_utc)
        .add_extension(x509.CRLNumber(int(at.timestamp() * 1000)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for serial, since in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(int(serial, 16))
            .revocation_date(since)
            .add_extension(x509.CRLReason(_REASON), critical=False)
            .build()
        )
    return _pem(builder.sign(authority.key, hashes.SHA256()))


def _private(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput("METER_EDGES__CA_KEY: is no private key (PEM, without a password)", code="bad_key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInput("METER_EDGES__CA_KEY: is no key of an elliptic curve; take one of P-256", code="bad_key")
    return key


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, issuer: x509.Name, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return named.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(made: x509.Certificate | x509.CertificateRevocationList) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()
