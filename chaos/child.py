"""`meter` whose failpoints are counted and armed from outside: python -m chaos.child up ...

CHAOS_POINTS is the directory of `chaos.points.Points`; CHAOS_PLANT a bug of `chaos.plants`, if one is wanted.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from chaos.plants import PLANTS
from chaos.points import pass_by
from meter import failpoints
from meter.cli import main

if __name__ == "__main__":
    for _name in failpoints.NAMES:
        failpoints.arm(_name, partial(pass_by, Path(os.environ["CHAOS_POINTS"]), _name))
    if _plant := os.environ.get("CHAOS_PLANT"):
        PLANTS[_plant].plant()
    main()
