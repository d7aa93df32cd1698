"""What stands in the books of a real gateway, in the second rater's words."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from meter.model.charge import Charge
from meter.store.readers import charge_by_id
from tests.booking.space import Space
from tests.reference.adapter import Lines, keyed, told_of_fold
from tests.reference.bill import groups, taxes
from tests.reference.bill import shared as shares
from tests.reference.lines import Line
from tests.reference.values import ZERO, decimal

Sums = dict[tuple[Any, ...], Decimal]


async def standing(space: Space) -> Lines:
    """The last charge of each line, if it is no reversal."""
    rows = await space.rows(
        "SELECT id FROM (SELECT DISTINCT ON (account, event_time, source, event_id, meter, element, part) id, role"
        " FROM charges ORDER BY account, event_time, source, event_id, meter, element, part, revision DESC) AS last"
        " WHERE role <> 'reversal'"
    )
    found: list[Charge] = []
    async with space.database.begin() as connection:
        for (name,) in rows:
            charge = await charge_by_id(connection, "northside", name)
            assert charge is not None
            found.append(charge)
    return keyed((charge.line.account, tuple(charge.line.key), told_of_fold(charge.line)) for charge in found)


def adjusted(reference: Lines, books: Lines) -> Lines:
    """The books with the kind that adjustments of closed periods had: that is what they correct, not what they say."""
    return {
        key: told | {"kind": reference[key]["kind"]} if told["kind"] == "adjustment" and key in reference else told
        for key, told in books.items()
    }


async def torn(space: Space) -> list[Any]:
    """What does not add up: reversals that leave something, credit given back twice, entries out of balance."""
    return [
        *await space.rows(
            """
            SELECT account, event_time, source, event_id, meter, element, part
              FROM charges GROUP BY 1, 2, 3, 4, 5, 6, 7
            HAVING (array_agg(role ORDER BY revision DESC))[1] = 'reversal' AND (sum(amount) <> 0 OR sum(quantity) <> 0)
                OR (array_agg(role ORDER BY revision DESC))[1] <> 'reversal'
                   AND sum(amount) <> (array_agg(amount ORDER BY revision DESC))[1]
            """
        ),
        *await space.rows(
            'SELECT account, "grant" FROM draws WHERE "grant" NOT LIKE \'%/returned/%\' GROUP BY 1, 2'
            " HAVING sum(amount) < 0"
        ),
        *await space.rows("SELECT entry FROM journal GROUP BY 1, currency HAVING sum(amount) <> 0"),
    ]


def _some(found: dict[Any, Any]) -> Sums:
    sums = {key: amount if isinstance(amount, Decimal) else decimal(amount) for key, amount in found.items()}
    return {key: amount for key, amount in sums.items() if amount}


def rounded_of(lines: list[Line]) -> Sums:
    return _some(groups(lines))


async def rounded(space: Space) -> Sums:
    rows = await space.rows(
        "SELECT account, period_start, meter, coalesce(site, ''), settlement, currency, tax_name, trim_scale(tax_rate),"
        " tax_inclusive, sum(rounded) FROM charges GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 HAVING sum(rounded) <> 0"
    )
    return {(*row[:6], (row[6], row[7], row[8])): row[9] for row in rows}


def shared_of(lines: list[Line]) -> Sums:
    return _some({(*group[:7], *group[7]): amount for group, amount in shares(lines).items()})


async def shared(space: Space) -> Sums:
    rows = await space.rows(
        "SELECT account, period_start, meter, site, settlement, currency, tax_name, trim_scale(tax_rate),"
        " tax_inclusive, s.party, trim_scale(s.share), s.role, sum(s.amount) FROM charges,"
        " jsonb_to_recordset(shares) AS s (party text, share numeric, role text, amount numeric)"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 HAVING sum(s.amount) <> 0"
    )
    return {(*row[:6], row[6:9], *row[9:12]): row[12] for row in rows}


def tax_of(lines: list[Line]) -> Sums:
    found: dict[tuple[Any, ...], Any] = defaultdict(lambda: ZERO)
    for (account, start, rate, inclusive, currency), amount in taxes(lines).items():
        found["account", account, start, rate, inclusive, currency] += amount
    for line in lines:
        if line.till_tax:
            assert line.tax is not None
            found["paid", line.account, line.period.start, line.tax[1], False, line.currency] += line.till_tax
    return _some(found)


async def tax(space: Space) -> Sums:
    rows = await space.rows(
        "SELECT settlement, account, period_start, trim_scale(tax_rate), tax_inclusive, currency, sum(tax_amount)"
        " FROM charges GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(tax_amount) <> 0"
    )
    return {row[:6]: row[6] for row in rows}


def receivable_of(lines: list[Line]) -> Sums:
    """What all accounts owe by currency: the rounded lines, and the tax that is not in them."""
    found: dict[tuple[Any, ...], Any] = defaultdict(lambda: ZERO)
    for group, amount in groups([line for line in lines if line.settlement == "account"]).items():
        found[group[5],] += amount
    for group, amount in taxes(lines).items():
        if not group[3]:
            found[group[4],] += amount
    return _some(found)


async def receivable(space: Space) -> Sums:
    rows = await space.rows(
        "SELECT currency, sum(amount) FROM journal WHERE ledger_account = 'assets:receivable' GROUP BY 1"
        " HAVING sum(amount) <> 0"
    )
    return {(row[0],): row[1] for row in rows}
