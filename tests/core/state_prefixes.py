"""The first bytes of keys that packages of core define: constants of bytes in capitals."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection


def prefixes(*packages: str, without: Collection[str] = ()) -> dict[str, bytes]:
    """The constants by module and name. without: names of those that begin no key, and modules of other state."""
    found: dict[str, bytes] = {}
    for package in packages:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if module.name in without:
                continue
            made = importlib.import_module(f"{package}.{module.name}")
            found |= {
                f"{module.name}.{name}": value
                for name, value in vars(made).items()
                if isinstance(value, bytes) and name.isupper() and name[0] != "_" and name not in without
            }
    return found
