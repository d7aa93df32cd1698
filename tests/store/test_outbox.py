from __future__ import annotations

from meter.store.outbox import item_key


def test_names_that_run_together_have_keys_of_their_own() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ('a","b', "c"), ("a", 'b","c')]
    keys = {item_key(operator=o, target=t, operation="journal", batch="x", revision=0) for o, t in pairs}
    assert len(keys) == len(pairs)
    assert len({item_key(operator="o", target="t", operation="j", batch="x", revision=n) for n in range(3)}) == 3
