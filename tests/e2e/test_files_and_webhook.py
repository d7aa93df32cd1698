"""A gateway that is killed in between fills a lake and tells a receiver: every charge is in both, once."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.e2e.test_badge_changes_hands import CATALOG, post, visit
from tests.gateway import RunningGateway
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.fakes.s3 import FakeS3

BADGE = "badge:04A2991B5C6D80"


def settings(hook: str, store: str, data_dir: Path) -> dict[str, str]:
    targets: dict[str, dict[str, Any]] = {
        "LAKE": {"KIND": "files", "GRAIN": "charge", "BASE_URL": str(data_dir / "drop")},
        "LAKE2": {
            "KIND": "files",
            "GRAIN": "charge",
            "BASE_URL": "s3://lake/raw",
            "CLIENT_ID": "AKIDFAKE",
            "CLIENT_SECRET": "secret",
            "OPTIONS": json.dumps({"format": "parquet", "dataset": "journal", "endpoint": store}),
        },
        "HOOK": {"KIND": "webhook", "BASE_URL": f"{hook}/hook", "SECRETS": json.dumps([SECRET])},
    }
    made = {f"METER_TARGETS__{name}__{key}": value for name, of in targets.items() for key, value in of.items()}
    return {**made, "METER_DATA_DIR": str(data_dir)}


async def meter(gateway: RunningGateway, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", *arguments, env=gateway.env, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_every_charge_is_in_the_lake_and_at_the_receiver_once(data_dir: Path) -> None:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with FakeReceiver() as receiver, FakeS3() as store:
        given = settings(receiver.url, store.url, data_dir)
        gateway = RunningGateway(data_dir, arguments=("--catalog", str(catalog)), env=given)
        await gateway.start()
        try:
            await post(gateway, *(visit(f"a{n}", f"02T10:{n:02}:00", BADGE) for n in range(20)))
            await gateway.kill()
            await gateway.start()
            await post(gateway, *(visit(f"b{n}", f"03T10:{n:02}:00", BADGE) for n in range(20)))
            await gateway.settled(events=40)
            charges = [row[0] for row in await gateway.rows("SELECT id FROM charges")]
            postings = [row[0] for row in await gateway.rows("SELECT amount FROM journal WHERE amount > 0")]
            assert {row[0] for row in await gateway.rows("SELECT state FROM outbox")} == {"delivered"}
            for target in ("lake", "lake2"):
                code, printed = await meter(gateway, "reconcile", target, "--since", "2026-03-01", "--json")
                assert code == 0, printed
            [part, *_] = (data_dir / "drop").rglob("*.csv")
            part.unlink()
            assert (await meter(gateway, "reconcile", "lake", "--since", "2026-03-01"))[0] == 1
            code, printed = await meter(gateway, "check")
            assert code == 0, printed
        finally:
            await gateway.stop()
        rows = [row for path in (data_dir / "drop").rglob("*.csv") for row in read(path)]
        assert len(charges) == 40
        assert {row["id"] for row in rows} < set(charges)
        assert len(rows) == len({row["id"] for row in rows})
        told = [one["id"] for message in receiver.taken.values() for one in message["data"]["charges"]]
        assert sorted(told) == sorted(charges)
        assert sum(postings) == Decimal("120.00")
        assert {key.split("/")[1] for key in store.objects} == {"journal"}


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
