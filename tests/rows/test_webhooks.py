"""Forged, stale and flipped deliveries of every vendor that signs: none is let in; a key that is rotated loses none."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from meter.ingest.batcher import Batcher
from meter.store.engine import Database
from meter.store.tables import events
from tests.api.conftest import Api
from tests.ingest.conftest import batcher, door  # noqa: F401  fixtures
from tests.ingest.rows import rows
from tests.ingest.square import KEYS, signature, webhook
from tests.ingest.test_webhook import post
from tests.rows.sizes import SEED, sized
from tests.sources.case import KEYS as VENDOR_KEYS
from tests.sources.case import RECEIVED, Case, Sample
from tests.sources.suite import SAMPLES
from tests.sources.test_compliance import accepts

DELIVERIES = sized(500, 10_000)
POSTED = sized(60, 10_000)
ROTATED = sized(30, 1_000)
_POSTS = [(case, sample) for case, sample in SAMPLES if case.sign is not None and sample.topic is None]


def _spoilt(case: Case, sample: Sample, dice: random.Random) -> tuple[str, bool]:
    """Return how one delivery was spoilt, and whether it was let in."""
    ways = ["forged", "unsigned", "swapped"]
    ways += ["flipped"] if case.tamper and sample.body else []
    ways += ["stale"] if case.signed_time else []
    way = dice.choice(ways)
    right = case.signed(sample, key=dice.choice(VENDOR_KEYS))
    match way:
        case "forged":
            sent = case.signed(sample, key=f"{dice.getrandbits(128):032x}")
        case "unsigned":
            sent = replace(right, headers=dict(sample.headers), query={})
        case "swapped":
            headers = {
                name: value if name in sample.headers else _other(value, dice) for name, value in right.headers.items()
            }
            sent = replace(right, headers=headers, query={name: _other(v, dice) for name, v in right.query.items()})
        case "flipped":
            body = bytearray(right.body)
            body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
            sent = replace(right, body=bytes(body))
        case _:
            sent = replace(right, received_at=RECEIVED + dice.choice((-1, 1)) * timedelta(hours=dice.randint(1, 9_000)))
    return way, accepts(case, sent)


def _other(value: str, dice: random.Random) -> str:
    """Return the text with its last letters changed."""
    end = "".join(dice.choice("0123456789abcdef") for _ in range(12))
    return value[:-12] + end


def test_nothing_that_is_spoilt_passes_the_check_of_any_vendor() -> None:
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    told: Counter[str] = Counter()
    for n in range(DELIVERIES):
        case, sample = _POSTS[n % len(_POSTS)]
        way, passed = _spoilt(case, sample, dice)
        assert not passed, f"{case.vendor} {sample.name}: {way}"
        told[way] += 1
    vendors = len({case.vendor for case, _ in _POSTS})
    print(f"webhooks, seed {SEED}: {DELIVERIES} of {vendors} vendors, {dict(told)}, none in")  # noqa: T201


async def test_forgeries_at_the_door_store_nothing(door: Api, database: Database, batcher: Batcher) -> None:  # noqa: F811
    dice = random.Random(SEED)  # noqa: S311  as above
    body = webhook()
    right = signature(body)
    for n in range(POSTED):
        flipped = bytearray(body)
        flipped[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
        sent, signed = (
            (bytes(flipped), right),
            (body, signature(body, key=str(n))),
            (webhook(id=f"another-{n}"), right),
            (body, None),
        )[n % 4]
        answer = await post(door, sent, signed)
        assert answer.status == 401
    assert await rows(database, events) == []
    print(f"webhooks at the door, seed {SEED}: {POSTED} posts, none in")  # noqa: T201  for the long form


async def test_a_sender_that_changes_its_key_on_the_way_loses_nothing(door: Api, database: Database) -> None:  # noqa: F811
    """Both keys are active: the sender takes the new one for what is sent from now on, and for what it repeats."""
    for n in range(ROTATED):
        body = webhook(id=f"payment-{n}")
        key = KEYS[0] if n < ROTATED // 2 else KEYS[1]
        assert (await post(door, body, signature(body, key=key))).status == 200
        if n % 10 == 0:
            again = await post(door, body, signature(body, key=KEYS[1]))
            assert again.json["results"][0]["status"] == "duplicate"
    assert len(await rows(database, events)) == ROTATED
