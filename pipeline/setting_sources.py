"""Where the values of the settings come from: tallymark.toml, the environment, and the files of secrets.

Owns: finding and reading these. Does not own: the settings, their types and defaults (settings). A secret `x` can be
read from the file that the setting `x_file` names, as Kubernetes and Docker mount secrets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pipeline.core.values import strict_toml
from pipeline.core.values.json_value import sentence_about
from pipeline.errors import Rejected

CONFIG_VARIABLE = "TALLYMARK_CONFIG"
PREFIX = "TALLYMARK_"
FILE = "_file"
DEFAULT_FILE = Path("tallymark.toml")
LOCAL_KEY_FILE = Path(".tallymark/admin.key")  # where `tallymark dev` stores its key
MOST_SECRET_BYTES = 65_536


def config_path() -> Path | None:
    """The settings file in use, or None. Raises Rejected when the file of TALLYMARK_CONFIG does not exist."""
    named = os.environ.get(CONFIG_VARIABLE, "")
    if not named:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not Path(named).is_file():
        raise Rejected("bad-setting", f"{CONFIG_VARIABLE} is {named}, but there is no such file.")
    return Path(named)


def file_values(known: Iterable[str]) -> dict[str, Any]:
    """The values in the settings file. known: the names of all settings. Raises Rejected."""
    path = config_path()
    if path is None:
        return {}
    try:
        values = strict_toml.read(path.read_bytes())
    except Rejected as error:
        raise Rejected("bad-setting", sentence_about(str(path), error)) from error
    except OSError as error:
        raise Rejected("bad-setting", f"{path} cannot be read: {error.strerror}.") from error
    names = set(known)
    for name in values:
        if name not in names:
            near = _near(name, names)
            raise Rejected("bad-setting", f"{path} sets {name!r}, but there is no such setting{near}.")
    return values


def variables(known: Iterable[str]) -> dict[str, str]:
    """The values of the environment, by the names of their settings."""
    names = {PREFIX + name.upper(): name for name in known}
    return {names[key.upper()]: value for key, value in os.environ.items() if key.upper() in names}


def with_secrets(values: Mapping[str, Any], secrets: Iterable[str]) -> dict[str, Any]:
    """The values with each secret that a file holds.

    secrets: the names of the settings that are secrets. Raises Rejected when a secret is given twice, or its file
    cannot be read; the sentence never has the secret.
    """
    found = dict(values)
    for name in secrets:
        path = str(values.get(name + FILE) or "")
        if not path:
            continue
        if _text(values.get(name, "")):
            raise Rejected("bad-setting", f"{name} and {name}{FILE} are both set; only one may be.")
        found[name] = SecretStr(_secret(name + FILE, Path(path)))
    return found


def _secret(setting: str, path: Path) -> str:
    """The content of a file, without the end of its line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Rejected(
            "bad-setting", f"{setting} is {path}, which cannot be read: {error.strerror}."
        ) from error
    if len(content) > MOST_SECRET_BYTES:
        raise Rejected("bad-setting", f"{setting} is {path}, which is too large for a secret.")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Rejected("bad-setting", f"{setting} is {path}, which is not UTF-8 text.") from error
    if not text:
        raise Rejected("bad-setting", f"{setting} is {path}, which is empty.")
    return text


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _near(name: str, names: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
