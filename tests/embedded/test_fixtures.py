"""The session's servers serve every test, each with a database of its own."""

import asyncpg
import pytest

from tests.tools import need_tool


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_its_own_database(database_url: str, turn: int) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE mine (turn int)")
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") > 1
    await connection.close()


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


def test_a_missing_tool_skips_here_and_fails_where_it_was_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_TEST_REQUIRE", "hledger")
    with pytest.raises(pytest.skip.Exception, match="is not installed"):
        need_tool("no-such-program")
    monkeypatch.setenv("METER_TEST_REQUIRE", "hledger,no-such-program")
    with pytest.raises(pytest.fail.Exception, match="promises it"):
        need_tool("no-such-program")
