"""Stripe's form encoding, a[b][0][c]=value, read into objects and lists; values stay text."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

_NAME = re.compile(r"([^\[\]]+)|\[([^\[\]]*)\]")


def decode(form: str) -> dict[str, Any]:
    """Return what the form says. An object whose names are 0, 1, 2 is a list; a[] adds to one."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form)):
        steps = [plain or bracketed for plain, bracketed in _NAME.findall(name)]
        here = tree
        for step in steps[:-1]:
            here = here.setdefault(step, {})
        here[steps[-1] or str(len(here))] = value
    return {name: _settled(branch) for name, branch in tree.items()}


def _settled(branch: Any) -> Any:
    if not isinstance(branch, dict):
        return branch
    if branch and all(name.isdigit() for name in branch):
        return [_settled(branch[name]) for name in sorted(branch, key=int)]
    return {name: _settled(one) for name, one in branch.items()}
