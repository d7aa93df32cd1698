import io

import pytest
from rich.table import Table

from meter.cli.common import SafeConsole

NAME = "\x1b]0;mine\x07\x1b[1A\x1b[2K\u202egnp\x9b31m\u2066\x7f"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_device_calls_itself_is_shown_and_not_obeyed(*, terminal: bool) -> None:
    table = Table("name")
    table.add_row(NAME)
    for shown in (NAME, table):
        file = io.StringIO()
        SafeConsole(file=file, force_terminal=terminal, width=200, color_system=None).print(shown, markup=False)
        told = file.getvalue()
        assert "]0;mine[1A[2Kgnp31m" in told
        assert not {"\x1b", "\x07", "\x9b", "\x7f", "\u202e", "\u2066"} & set(told)


def test_styles_reach_a_terminal() -> None:
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True, color_system="standard").print("[red]no[/red]")
    assert "\x1b[31mno\x1b[0m" in file.getvalue()
