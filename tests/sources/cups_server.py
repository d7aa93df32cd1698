"""A real print server for tests: cupsd on directories of its own, and a queue whose driver counts pages."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meter.embedded.partdir import LOOPBACK, choose_port
from tests.tools import need_tool

_TRIES = 200
# A driver as drivers are: for each page it tells CUPS so. What it is given are the numbers of pages.
_FILTER = """#!/bin/sh
[ -n "$6" ] && exec <"$6"
read -r pages
page=0
while [ "$page" -lt "$pages" ]; do page=$((page + 1)); echo "PAGE: $page $4" >&2; done
echo "$pages"
"""
_PPD = """*PPD-Adobe: "4.3"
*FormatVersion: "4.3"
*FileVersion: "1.0"
*LanguageVersion: English
*LanguageEncoding: ISOLatin1
*PCFileName: "COUNT.PPD"
*Manufacturer: "Test"
*Product: "(Test)"
*PSVersion: "(3010.000) 0"
*ModelName: "Test"
*ShortNickName: "Test"
*NickName: "Test"
*ColorDevice: False
*cupsFilter: "text/plain 0 {filter}"
*OpenUI *PageSize: PickOne
*DefaultPageSize: A4
*PageSize A4/A4: ""
*CloseUI: *PageSize
*OpenUI *PageRegion: PickOne
*DefaultPageRegion: A4
*PageRegion A4/A4: ""
*CloseUI: *PageRegion
*DefaultImageableArea: A4
*ImageableArea A4/A4: "0 0 595 842"
*DefaultPaperDimension: A4
*PaperDimension A4/A4: "595 842"
"""
_CONF = """Listen {address}
MaxLogSize 0
LogLevel info
DefaultAuthType None
WebInterface No
Browsing Off
PreserveJobHistory Yes
PreserveJobFiles Yes
PageLogFormat {page_log_format}
<Location />
Order allow,deny
Allow all
</Location>
<Policy default>
JobPrivateAccess all
JobPrivateValues none
<Limit All>
Order deny,allow
Allow all
</Limit>
</Policy>
"""


class PrintServer:
    """A running cupsd with the queue `lounge`."""

    def __init__(self, directory: Path, port: int) -> None:
        self.address = f"{LOOPBACK}:{port}"
        self.page_log = directory / "page_log"
        self._directory = directory

    async def run(self, tool: str, *arguments: str) -> str:
        """Run one of CUPS' commands against this server."""
        environment = {**os.environ, "CUPS_SERVER": self.address, "HOME": str(self._directory), "LC_ALL": "C"}
        process = await asyncio.create_subprocess_exec(
            need_tool(tool),
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (tool, arguments, err.decode(), self.errors())
        return out.decode()

    async def print(self, pages: int, *arguments: str) -> str:
        """Print so many pages; the request's id."""
        document = self._directory / "document.txt"
        document.write_text(f"{pages}\n", encoding="ascii")
        return (await self.run("lp", "-d", "lounge", *arguments, str(document))).split()[3]

    def errors(self) -> str:
        """What the server has to say."""
        log = self._directory / "error_log"
        return log.read_text(encoding="utf-8", errors="replace")[-4_000:] if log.exists() else ""


@asynccontextmanager
async def print_server(directory: Path, page_log_format: str) -> AsyncIterator[PrintServer]:
    """A cupsd that writes its page_log in this format. Skipped where there is none."""
    cupsd = need_tool("cupsd")
    for name in ("root", "spool", "tmp", "cache", "state"):
        (directory / name).mkdir()
    server = PrintServer(directory, choose_port(LOOPBACK, given=None, remembered=None))
    counting, ppd = directory / "counting", directory / "counting.ppd"
    counting.write_text(_FILTER, encoding="ascii")
    counting.chmod(0o755)
    ppd.write_text(_PPD.format(filter=counting), encoding="ascii")
    conf, files = directory / "cupsd.conf", directory / "cups-files.conf"
    conf.write_text(_CONF.format(address=server.address, page_log_format=page_log_format), encoding="ascii")
    places = {"ServerRoot": "root", "RequestRoot": "spool", "TempDir": "tmp", "CacheDir": "cache", "StateDir": "state"}
    logs = {"AccessLog": "access_log", "ErrorLog": "error_log", "PageLog": "page_log"}
    settings = [f"{name} {directory / place}" for name, place in {**places, **logs}.items()]
    files.write_text("\n".join(["FileDevice Yes", *settings, ""]), encoding="ascii")
    process = await asyncio.create_subprocess_exec(cupsd, "-f", "-c", str(conf), "-s", str(files))
    try:
        await _until_it_answers(process, server)
        await server.run("lpadmin", "-p", "lounge", "-E", "-v", "file:///dev/null", "-P", str(ppd))
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, server: PrintServer) -> None:
    host, _, port = server.address.rpartition(":")
    for _ in range(_TRIES):
        assert process.returncode is None, server.errors()
        try:
            _reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)  # there is nothing to wait for but the port
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise AssertionError(server.errors())
