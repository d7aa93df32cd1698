"""Fixtures: a contract server for each export target, started when a test first asks for it.

The server is the session's; a test gets it with nothing remembered. README.md beside this shows how it is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.amendments import amended
from tests.contract.judged import ContractServer
from tests.contract.prism_server import prism
from tests.contract.served import served
from tests.contract.stripe_v1 import StripeJudge
from tests.specs import spec


@asynccontextmanager
async def _served(name: str, session_dir: Path, *, base_path: str = "") -> AsyncIterator[ContractServer]:
    document = served(name, amended(name, spec(name).document))
    async with prism(document, session_dir / f"prism-{name}") as judge:
        with ContractServer(judge, base_path=base_path) as server:
            yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _square_server(session_dir: Path) -> AsyncIterator[ContractServer]:
    async with _served("square", session_dir) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _xero_server(session_dir: Path) -> AsyncIterator[ContractServer]:
    async with _served("xero", session_dir, base_path="/api.xro/2.0") as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _quickbooks_server(session_dir: Path) -> AsyncIterator[ContractServer]:
    async with _served("quickbooks", session_dir) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _stripe_v2_server(session_dir: Path) -> AsyncIterator[ContractServer]:
    async with _served("stripe-v2", session_dir) as server:
        yield server


@pytest.fixture(scope="session")
def _stripe_server() -> Iterator[ContractServer]:
    with ContractServer(StripeJudge(amended("stripe", spec("stripe").document))) as server:
        yield server


@pytest.fixture
def square_contract(_square_server: ContractServer) -> ContractServer:
    """Square; `base_url` stands in place of the address of production."""
    _square_server.forget()
    return _square_server


@pytest.fixture
def xero_contract(_xero_server: ContractServer) -> ContractServer:
    """Xero's accounting interface; `base_url` ends in /api.xro/2.0, as Xero's does."""
    _xero_server.forget()
    return _xero_server


@pytest.fixture
def quickbooks_contract(_quickbooks_server: ContractServer) -> ContractServer:
    """QuickBooks Online; paths begin with /v3/company."""
    _quickbooks_server.forget()
    return _quickbooks_server


@pytest.fixture
def stripe_v2_contract(_stripe_v2_server: ContractServer) -> ContractServer:
    """Stripe's meter events of /v2, stream and session included."""
    _stripe_v2_server.forget()
    _stripe_v2_server.answers["POST", "/v2/billing/meter_event_session"] = {
        "object": "v2.billing.meter_event_session",
        "id": "mes_1",
        "authentication_token": "token_of_a_session",
        "created": "2026-11-20T09:00:00.000Z",
        "expires_at": "2099-11-20T09:15:00.000Z",
        "livemode": False,
    }
    return _stripe_v2_server


@pytest.fixture
def stripe_contract(_stripe_server: ContractServer) -> ContractServer:
    """Stripe's /v1: forms. Needs no Node."""
    _stripe_server.forget()
    return _stripe_server
