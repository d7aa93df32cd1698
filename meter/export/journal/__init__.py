"""The posting rules: charges, days and closed periods become balanced entries. Pure (docs/ledger.md, decision 0013).

    charges    what a charge moves: owed or paid, earned, taxed, shared, deferred
    credit     what has been earned of credit that was bought, by what was drawn of it
    earned     what a day earns of the fees that are deferred
    billed     what closing a period moves from unbilled to receivable
    chart      which account plays which role;  rules  which is a line's income;  days  when an entry is dated

Nothing is lost for want of a rule: an account that no book could hold goes to suspense.
"""

from meter.export.journal.billed import billed_entries
from meter.export.journal.charges import deferral_of, entries_of
from meter.export.journal.chart import DEFAULT_ACCOUNTS, named_account, owed_accounts, role_account, tax_accounts
from meter.export.journal.credit import BoughtCredit, Burn, count, drawing_account, touches_credit
from meter.export.journal.days import BookingDay, moment_of
from meter.export.journal.earned import earned_entries
from meter.export.journal.rules import Earning, income_account

__all__ = [
    "DEFAULT_ACCOUNTS",
    "BookingDay",
    "BoughtCredit",
    "Burn",
    "Earning",
    "billed_entries",
    "count",
    "deferral_of",
    "drawing_account",
    "earned_entries",
    "entries_of",
    "income_account",
    "moment_of",
    "named_account",
    "owed_accounts",
    "role_account",
    "tax_accounts",
    "touches_credit",
]
