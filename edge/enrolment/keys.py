"""The key of this machine, and the request that shows it to the gateway. The only module that loads cryptography."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def new_key() -> bytes:
    """Return a new P-256 key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_of(key: bytes) -> bytes:
    """Return a certificate request (PKCS #10, PEM) that this key has signed. Raises ValueError."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def is_of(certificate: str, key: bytes) -> bool:
    """Tell whether a certificate (PEM) is for this key. Raises ValueError."""
    return x509.load_pem_x509_certificate(certificate.encode()).public_key() == _private(key).public_key()


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(key, password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        message = "not a key of an elliptic curve"
        raise ValueError(message)  # noqa: TRY004 -- the file's content is wrong, whatever its type
    return found
