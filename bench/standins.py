"""Vendors and a receiver that stand in for the real ones, in a process of their own, as slow as those are from Europe.

Prints their addresses as a line of JSON, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Final

from tests.targets.fakes.base import Fake
from tests.targets.fakes.quickbooks import REALM, FakeQuickBooks
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.fakes.stripe import FakeStripe

# What each takes to answer, in seconds.
STRIPE_S: Final = 0.15
QUICKBOOKS_S: Final = 0.3
RECEIVER_S: Final = 0.02


async def _serve(accounts: int) -> None:
    stripe, quickbooks, receiver, second = FakeStripe(), FakeQuickBooks(), FakeReceiver(), FakeReceiver()
    fakes: dict[Fake, float] = {stripe: STRIPE_S, quickbooks: QUICKBOOKS_S, receiver: RECEIVER_S, second: RECEIVER_S}
    rate = stripe.add_tax_rate("19")
    for number in range(accounts):
        stripe.add_customer(f"cus_{number}")
    books = quickbooks.add("Account", Name="Everything", AccountType="Equity")
    token = quickbooks.tokens.first()
    async with AsyncExitStack() as stack:
        for fake, seconds in fakes.items():
            fake.answers_after_s = seconds
            await stack.enter_async_context(fake)
        targets = {
            "stripe": {
                "kind": "stripe",
                "base_url": stripe.url,
                "api_key": "sk_of_the_fake",
                "options": {"tax_codes": {"vat19": rate}},
            },
            "quickbooks": {
                "kind": "quickbooks",
                "base_url": quickbooks.url,
                "grain": "charge",
                "company": REALM,
                "client_id": "client",
                "client_secret": "secret",
                "refresh_token": token,
                "options": {"accounts": {"suspense": books}, "tracking": "none"},
            },
            "webhook": {"kind": "webhook", "base_url": f"{receiver.url}/hook", "secrets": [SECRET]},
            "second": {"kind": "webhook", "base_url": f"{second.url}/hook", "secrets": [SECRET]},
        }
        sys.stdout.write(json.dumps(targets) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
