"""Becomes a server: a script with nothing but the standard library, replaced by the program that it starts.

What a child needs between fork and exec (another user, a namespace, the death signal) is done here, in a fresh process
with one thread, because code between fork and exec of a threaded program can deadlock.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, NoReturn

_CLONE_NEWUSER = 0x10000000  # sched.h
_PR_SET_PDEATHSIG = 1  # prctl.h


def _libc() -> Any:
    try:
        import ctypes  # noqa: PLC0415 -- a Python built without libffi has none
    except ImportError:
        return None
    return ctypes.CDLL(None, use_errno=True)


def _enter_namespace(libc: Any, inside: int) -> None:
    """Show this process to itself as user `inside`, while files see who it was; it has no privilege in either."""
    uid, gid = os.geteuid(), os.getegid()
    if libc is None or libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit("this system gives no user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 -- one write call is what the kernel takes
            file.write(text)


def _become(libc: Any, spec: dict[str, Any]) -> None:
    if spec["inside"] is not None:
        _enter_namespace(libc, spec["inside"])
    elif spec["uid"] is not None:
        os.setgroups([])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])


def _die_with_parent(libc: Any, spec: dict[str, Any]) -> None:
    """Have the kernel send the death signal when the thread that started this ends; a change of user would clear it."""
    if libc is None or libc.prctl(_PR_SET_PDEATHSIG, spec["death_signal"]) != 0:
        sys.stderr.write("if the gateway is killed, this server goes on until the next gateway ends it\n")
    if os.getppid() != spec["parent"]:
        sys.exit("the gateway ended while this child was starting")


def main(text: str) -> NoReturn:
    """Replace this process by the program of `text`, the JSON that `child.py` writes."""
    spec = json.loads(text)
    # Before becoming: another user may not be able to read this Python's library.
    libc = _libc() if sys.platform == "linux" else None
    os.umask(0o077)
    _become(libc, spec)
    os.chdir(spec["cwd"])  # after becoming: what this user cannot reach must fail here
    _die_with_parent(libc, spec)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and exec would hand that on
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    # A clean environment: no PG* variable, no locale and no secret of the gateway reaches a child.
    os.execve(spec["argv"][0], spec["argv"], {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath})  # noqa: S606 -- no shell


if __name__ == "__main__":
    main(sys.argv[1])
