"""RADIUS over UDP: no webhook and no messages; `tests/ingest/test_radius.py` sends it packets."""

from tests.sources.case import KEYS, Case, setup

CASE = Case(vendor="radius", setup=setup("radius", "aps", secrets=KEYS), samples=[])
