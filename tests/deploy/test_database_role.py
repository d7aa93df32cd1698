"""The database's first start: the script that the image runs, and the command line, on a real PostgreSQL."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from meter.embedded.postgres import EmbeddedPostgres, binaries
from meter.store.engine import Database
from meter.store.migrate import upgrade
from meter.store.walls import Standing, walls
from tests.deploy.parts import DEPLOY, compose


async def test_the_gateways_role_owns_its_database_and_nothing_more(data_dir: Path, secrets_dir: Path) -> None:
    command = compose()["services"]["timescaledb"]["command"]
    assert command[0] == "postgres"
    assert set(command[1::2]) == {"-c"}
    settings = dict(setting.split("=") for setting in command[2::2])
    async with EmbeddedPostgres(data_dir, settings=settings) as server:
        admin = await asyncpg.connect(server.admin_url)
        for statement in ("DROP DATABASE meter", "DROP ROLE meter", "CREATE DATABASE meter"):
            await admin.execute(statement)
        _run_as_the_image_does(server, secrets_dir / "database_password")
        role = await admin.fetchrow("SELECT * FROM pg_roles WHERE rolname = 'meter'")
        assert role is not None
        assert role["rolcanlogin"]
        rights = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
        assert not any(role[right] for right in rights)
        for name, value in settings.items():
            assert await admin.fetchval(f"SHOW {name}") == value
        await admin.close()

        url = (secrets_dir / "database_url").read_text().replace("timescaledb:5432", f"{server.host}:{server.port}")
        assert await upgrade(url) == [], "no administrator is needed"
        database = Database(url)
        async with database.begin() as connection:
            assert await walls(connection) == Standing(unraised=(), faults=())
        await database.dispose()
        gateway = await asyncpg.connect(url)
        assert (
            await gateway.fetchval("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") > 5
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.execute("CREATE ROLE other")
        await gateway.close()


def _run_as_the_image_does(server: EmbeddedPostgres, password_file: Path) -> None:
    admin = urlsplit(server.admin_url)
    environment = {
        "PATH": os.pathsep.join([str(binaries()), "/usr/bin", "/bin"]),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "meter",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGPASSWORD": admin.password or "",
        "DATABASE_PASSWORD_FILE": str(password_file),
    }
    subprocess.run([DEPLOY / "timescaledb" / "010-role.sh"], env=environment, check=True, capture_output=True)
