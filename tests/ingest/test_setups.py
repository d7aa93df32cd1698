import pytest
from pydantic import SecretStr

from meter.config import WebhookSettings
from meter.ingest.setups import Sources
from meter.sources.registry import VENDORS

SIGNED = sorted(name for name, vendor in VENDORS.items() if "secrets" in vendor.needs)


@pytest.mark.parametrize("vendor", SIGNED)
@pytest.mark.parametrize("written", ["", "  "])
def test_a_secret_that_was_never_filled_in_lets_nobody_in(vendor: str, written: str) -> None:
    """An empty key signs as well as any other, and everybody has it."""
    given = WebhookSettings(
        secrets=[SecretStr(written)],
        site="berlin",
        url="https://meter.example",
        api_base="http://a",
        api_key=SecretStr("k"),
    )
    (source,) = Sources({vendor: {"main": given}}).all
    assert source.setup.secrets == ()
    assert any("secrets" in fault for fault in source.faults)


def test_an_empty_place_for_the_next_secret_leaves_the_one_that_holds() -> None:
    given = WebhookSettings(secrets=[SecretStr("one"), SecretStr("")], site="berlin", api_key=SecretStr(""))
    (source,) = Sources({"kisi": {"main": given}}).all
    assert (source.setup.secrets, source.faults) == (("one",), ())
    assert not source.setup.fetched
