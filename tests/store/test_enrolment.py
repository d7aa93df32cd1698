"""Codes, keys and certificates of agents: each is good for one machine, and for nothing once it is taken back."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import select

from meter import certificates
from meter.model.errors import BadInput
from meter.store import enrolment
from meter.store.edge_revocations import Agent, revocations
from meter.store.enrolment import Enrolled
from meter.store.keys import find_principal, secret_hash
from meter.store.tables import edge_enrollments
from tests.booking.space import LATER, Space, open_space
from tests.tools import need_tool

DAY = timedelta(days=1)
CA_KEY = certificates.new_key().decode()


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def public_key() -> bytes:
    return certificates.requested_key(request(ec.generate_private_key(ec.SECP256R1())))


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


async def opened(space: Space, edge: str = "edge-1", *, life: timedelta = DAY) -> str:
    async with space.database.begin() as conn:
        _, code = await enrolment.open_enrollment(
            conn, "northside", site="berlin", edge=edge, life=life, by="test", at=space.now
        )
    return code


async def used(space: Space, code: str, key: bytes) -> Enrolled:
    async with space.database.begin() as conn:
        signer = await enrolment.authority(conn, "northside", CA_KEY, at=space.now)
        return await enrolment.use_enrollment(conn, "northside", code, key, signer=signer, at=space.now)


async def knows(space: Space, enrolled: Enrolled) -> bool:
    async with space.database.begin() as conn:
        return await find_principal(conn, "northside", secret_hash(enrolled.secret), at=space.now) is not None


async def listed(space: Space) -> set[str]:
    async with space.database.begin() as conn:
        return {serial for serial, _ in await enrolment.revoked_certificates(conn, "northside", at=space.now)}


async def refused(space: Space, code: str, key: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        await used(space, code, key)
    return caught.value.code


async def test_a_code_is_good_for_one_machine_however_it_is_typed(space: Space) -> None:
    code, key = await opened(space), public_key()
    first = await used(space, code.lower().replace("-", " ").replace("0", "o").replace("1", "l"), key)
    assert (first.site, first.edge) == ("berlin", "edge-1")
    assert await refused(space, code, public_key()) == "conflict"
    assert await knows(space, first)
    again = await used(space, code, key)
    assert await knows(space, again)
    assert not await knows(space, first)
    assert await listed(space) == set()


async def test_a_code_ends(space: Space) -> None:
    code = await opened(space)
    assert await refused(space, enrolment.new_code(), public_key()) == "unknown_code"
    replaced, code = code, await opened(space)
    assert await refused(space, replaced, public_key()) == "unknown_code"
    space.now += DAY
    assert await refused(space, code, public_key()) == "code_expired"


async def test_the_next_machine_of_a_name_ends_the_one_before(space: Space) -> None:
    key, code = public_key(), await opened(space)
    old = await used(space, code, key)
    new = await used(space, await opened(space), public_key())
    assert not await knows(space, old)
    assert await knows(space, new)
    assert await listed(space) == {old.certificate.serial}
    assert await refused(space, code, key) == "unknown_code"


async def test_what_is_revoked_is_good_for_nothing_until_it_is_enrolled_again(space: Space) -> None:
    agent, key, code = Agent("berlin", "edge-1"), public_key(), await opened(space)
    enrolled, other = await used(space, code, key), await used(space, await opened(space, "edge-2"), public_key())
    for reason in ("stolen", "again"):
        async with space.database.begin() as conn:
            told = await enrolment.revoke_agent(conn, "northside", agent, reason=reason, by="test", at=space.now)
        assert told.reason == "stolen"
    assert not await knows(space, enrolled)
    assert await knows(space, other)
    assert await listed(space) == {enrolled.certificate.serial}
    assert await refused(space, code, key) == "unknown_code"
    space.now += DAY
    await used(space, await opened(space), key)
    async with space.database.begin() as conn:
        assert await revocations(conn, "northside") == {}


async def test_only_the_agents_own_key_renews_its_certificate(space: Space) -> None:
    enrolled, other = [await used(space, await opened(space, name), public_key()) for name in ("edge-1", "edge-2")]
    space.now += certificates.LIFE
    async with space.database.begin() as conn:
        signer = await enrolment.authority(conn, "northside", CA_KEY, at=space.now)
        keys = {}
        for one in (enrolled, other):
            found = await find_principal(conn, "northside", secret_hash(one.secret), at=space.now)
            assert found is not None
            keys[one.edge] = found[0].key
        own = await enrolment.enrolled_key(conn, "northside", site="berlin", edge="edge-1", key=keys["edge-1"])
        renewed = await enrolment.certify(conn, "northside", "berlin", "edge-1", own, signer=signer, at=space.now)
        before, after = (
            x509.load_pem_x509_certificate(pem.encode()) for pem in (enrolled.certificate.pem, renewed.pem)
        )
        assert after.public_key() == before.public_key()
        assert renewed.expires_at > space.now
        with pytest.raises(BadInput, match="is not that of 'edge-1'"):
            await enrolment.enrolled_key(conn, "northside", site="berlin", edge="edge-1", key=keys["edge-2"])


@pytest.mark.parametrize(
    ("site", "edge", "life", "code"),
    [
        ("prague", "edge-1", DAY, "not_found"),
        ("berlin", "no spaces", DAY, "invalid"),
        ("berlin", "e" * 58, DAY, "invalid"),
        ("berlin", "edge-1", timedelta(0), "invalid"),
        ("berlin", "edge-1", 32 * DAY, "invalid"),
    ],
)
async def test_what_cannot_be_enrolled(space: Space, site: str, edge: str, life: timedelta, code: str) -> None:
    async with space.database.begin() as conn:
        with pytest.raises(BadInput) as caught:
            await enrolment.open_enrollment(conn, "northside", site=site, edge=edge, life=life, by="test", at=space.now)
    assert caught.value.code == code


async def test_an_authority_has_one_key(space: Space) -> None:
    async with space.database.begin() as conn:
        await enrolment.authority(conn, "northside", CA_KEY, at=space.now)
        other = certificates.new_key().decode()
        with pytest.raises(BadInput, match=r"METER_EDGES__CA_KEY.*another key"):
            await enrolment.authority(conn, "northside", other, at=space.now)
        await enrolment.replace_authority(conn, "northside", other, at=space.now)
        await enrolment.authority(conn, "northside", other, at=space.now)


@pytest.mark.parametrize("made", ["rsa", "curve", "torn", "text"])
def test_a_request_is_of_a_p256_key_that_signed_it(made: str) -> None:
    wrong = {
        "rsa": request(rsa.generate_private_key(65537, 2048)),
        "curve": request(ec.generate_private_key(ec.SECP384R1())),
        "text": "hello",
    }
    if made == "torn":
        mine, theirs = (
            x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode()) for _ in range(2)
        )
        der = mine.public_bytes(serialization.Encoding.DER)
        spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        forged = der.replace(mine.public_key().public_bytes(*spki), theirs.public_key().public_bytes(*spki))
        wrong["torn"] = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(BadInput) as caught:
        certificates.requested_key(wrong[made])
    assert caught.value.code == "bad_request"


def test_openssl_trusts_what_is_signed_and_not_what_is_listed(tmp_path: Path) -> None:
    openssl = need_tool("openssl")
    authority = certificates.authority_of(CA_KEY, certificates.self_signed(CA_KEY, operator="northside", at=LATER))
    good, bad = (
        certificates.issue(authority, public_key(), site="berlin", edge=name, at=LATER) for name in ("edge-1", "edge-2")
    )
    (tmp_path / "ca.pem").write_text(
        authority.pem + certificates.revocation_list(authority, [(bad.serial, LATER)], at=LATER)
    )

    def verified(pem: str, purpose: str = "sslclient", at: str = str(int(LATER.timestamp()))) -> bool:
        (tmp_path / "leaf.pem").write_text(pem)
        command = [openssl, "verify", "-x509_strict", "-crl_check", "-attime", at, "-purpose", purpose]
        files = ["-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem")]
        return subprocess.run([*command, *files], capture_output=True, check=False).returncode == 0

    assert verified(good.pem)
    assert not verified(bad.pem)
    assert not verified(good.pem, "sslserver")
    assert not verified(good.pem, at=str(int((good.expires_at + DAY).timestamp())))
    shown = x509.load_pem_x509_certificate(good.pem.encode())
    assert shown.subject.rfc4514_string() == "CN=berlin:edge-1"


async def test_a_certificate_renewed_while_its_agent_is_revoked_is_taken_back(space: Space) -> None:
    """It would let the lost machine in again once another is enrolled under its name."""
    await used(space, await opened(space), public_key())
    agent = Agent("berlin", "edge-1")

    async def revoke() -> None:
        async with space.database.begin() as conn:
            await enrolment.revoke_agent(conn, "northside", agent, reason="stolen", by="test", at=space.now)

    async with space.database.begin() as conn:
        signer = await enrolment.authority(conn, "northside", CA_KEY, at=space.now)
        (api_key,) = (await conn.execute(select(edge_enrollments.c.api_key))).scalars()
        own = await enrolment.enrolled_key(conn, "northside", site="berlin", edge="edge-1", key=api_key)
        revoking = asyncio.create_task(revoke())
        await asyncio.wait([revoking], timeout=0.5)
        renewed = await enrolment.certify(conn, "northside", "berlin", "edge-1", own, signer=signer, at=space.now)
    await revoking
    assert renewed.serial in await listed(space)
