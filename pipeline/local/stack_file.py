"""The settings file of a local stack, by which its next run finds the ports of the last one.

Owns: the form of the file. Does not own: which settings it has (stack), who may read it (private).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.core.values import strict_toml
from pipeline.errors import Rejected


def last_ports(config: Path) -> dict[str, int]:
    """The ports of the last run."""
    try:
        values = strict_toml.read(config.read_bytes())
        places = {name: urlsplit(str(values[name])).port for name in ("clickhouse", "redis")}
        places |= {"kafka": int(values["kafka"].rpartition(":")[2]), "api": int(values["api_port"])}
        places["stripe"] = urlsplit(str(values.get("stripe_address", ""))).port
    except (FileNotFoundError, KeyError, ValueError, Rejected):
        return {}
    return {name: port for name, port in places.items() if port}


def toml_text(values: Mapping[str, str | int | float]) -> str:
    """The settings file with these values."""
    lines = ["# Written by `tallymark dev` at each start: the addresses of this stack."]
    return "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in values.items())]) + "\n"
