"""The oracle and the schedule by themselves: what each must find, and that they know nothing of the product."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from chaos.journal import Intent, Journal
from chaos.oracle import Held, Verdict, judged
from chaos.rater import due, rated
from chaos.schedule import SHARES, counts, schedule
from chaos.world import Pack, Use, customer_of

ROOT: Final = Path(__file__).parents[2]
JUDGES: Final = ("world", "rater", "journal", "oracle")
NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
PACK: Final = Pack.of(NOW)


@pytest.mark.parametrize("name", JUDGES)
def test_what_judges_imports_nothing_of_the_product(name: str) -> None:
    tree = ast.parse((ROOT / "chaos" / f"{name}.py").read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {module for module in imported if module.partition(".")[0] in {"meter", "edge", "tests", "bench", "chaos"}}
    assert ours <= {f"chaos.{judge}" for judge in JUDGES}


def test_a_schedule_is_a_function_of_seed_and_sizes() -> None:
    one = schedule(3, faults=60, events=1000)
    assert one == schedule(3, faults=60, events=1000)
    assert one != schedule(4, faults=60, events=1000)
    assert {fault.what for fault in one} == SHARES.keys()
    assert len(one) == sum(counts(60).values()) == 60


def test_faults_of_some_kinds_alone_are_all_of_these() -> None:
    others = SHARES.keys() - {"stop_postgres"}
    assert counts(50, skipped=frozenset(others)) == {"stop_postgres": 50}
    assert counts(50, skipped=frozenset(others - {"cut"})) == {"cut": 40, "stop_postgres": 10}


def test_pages_are_free_then_dear_then_cheaper() -> None:
    early = NOW - timedelta(days=5)  # while the pack could be drawn
    uses = [
        Use(id="1", account="a0", meter="pages", quantity=Decimal(50), at=early),
        Use(id="2", account="a0", meter="pages", quantity=Decimal(100), at=NOW),
        Use(id="3", account="a0", meter="pages", quantity=Decimal(200), at=NOW + timedelta(seconds=1)),
        Use(id="4", account="a0", meter="doors", quantity=Decimal(1), at=NOW),
    ]
    priced = rated(list(reversed(uses)), PACK)
    assert priced["1"].draws == {"pack": Decimal(40), "free": Decimal(10)}
    assert priced["2"].draws == {"free": Decimal(90)}
    # 10 and 190 at 0.05, 10 at 0.03.
    assert (priced["2"].amount, priced["3"].amount) == (Decimal("0.50"), Decimal("9.80"))
    assert due(priced.values()) == {"a0": (Decimal("10.37"), Decimal("1.97"))}


def doors(count: int) -> tuple[dict[str, Intent], Held]:
    """So many doors of one account, and what an exact system holds of them."""
    ids = [f"d{n}" for n in range(count)]
    intents = {
        id: Intent(id=id, way="http", account="a0", meter="doors", quantity=Decimal(1), subject="badge:B0", at=NOW)
        for id in ids
    }
    common = {"account": "a0", "meter": "doors", "role": "original", "quantity": Decimal(1), "covered": Decimal(0)}
    money = {"amount": Decimal("0.07"), "rounded": Decimal("0.07"), "tax_amount": Decimal("0.01")}
    charges = [{"id": f"c-{id}", "event_id": id, **common, **money} for id in ids]
    # 0.04 is the tax on 0.21 for three of them; the first line has the odd cent.
    charges[0]["tax_amount"] = Decimal("0.02")
    told = [{"id": one["id"], "rounded": "0.07"} for one in charges]
    event = {"time": NOW, "type": "door.access", "subject": "badge:B0", "data": {"granted": True}}
    return intents, Held(
        events=[{"id": id, **event} for id in ids],
        charges=charges,
        draws=[],
        postings=[
            {"entry": f"e-{id}", "ledger_account": account, "amount": amount}
            for id in ids
            for account, amount in (("assets:unbilled", Decimal("0.07")), ("income:doors", Decimal("-0.07")))
        ],
        outbox={"delivered": 3},
        rejections=[],
        balances=[],
        pulled=told,
        invoiced={customer_of("a0"): (Decimal("0.21"), Decimal("0.04"))},
        hooked=told,
        journalled=[{"id": f"e-{id}"} for id in ids],
    )


def verdict(intents: dict[str, Intent], held: Held) -> Verdict:
    return judged(intents, dict.fromkeys(intents, 1), held, PACK)


def changed(held: Held, name: str, rows: list[Any]) -> Held:
    given: dict[str, Any] = {name: rows}
    return replace(held, **given)


def test_what_is_exact_is_said_to_be() -> None:
    assert verdict(*doors(3)).exact


@pytest.mark.parametrize("name", ["events", "charges", "pulled", "hooked", "journalled"])
def test_what_is_missing_or_there_twice_is_found(name: str) -> None:
    intents, held = doors(3)
    rows = list(getattr(held, name))
    assert verdict(intents, changed(held, name, rows[:-1])).lost
    assert verdict(intents, changed(held, name, [*rows, rows[-1]])).doubled


def test_a_cent_anywhere_is_found() -> None:
    intents, held = doors(3)
    net, tax = held.invoiced[customer_of("a0")]
    off = replace(held, invoiced={customer_of("a0"): (net + Decimal("0.01"), tax)})
    assert verdict(intents, off).cents_off == Decimal("0.01")
    assert not verdict(intents, changed(held, "postings", list(held.postings)[:-1])).exact
    assert not verdict(intents, replace(held, outbox={"delivered": 2, "uncertain": 1})).exact
    assert not judged(intents, {}, held, PACK).exact


def test_intents_are_written_before_anything_is_told(tmp_path: Path) -> None:
    intents, _ = doors(1)
    with Journal(tmp_path / "journal") as journal:
        journal.intend(*intents.values())
        assert '["intent", {"id": "d0"' in (tmp_path / "journal").read_text()
        with pytest.raises(ValueError, match="d0"):
            journal.intend(*intents.values())
        journal.tell("d0")
    assert (tmp_path / "journal").read_text().endswith('["told", "d0"]\n')
