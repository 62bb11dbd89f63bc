"""The apps of a namespace: those that were installed, and a sandbox that every namespace has from the beginning.

Owns: these look-ups, the sandbox. Does not own: what an app is (app), which changes are allowed (app_commands).
The sandbox has no stored definition until a command changes it. Its id is a function of the namespace, so that every
process has the same one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pipeline.core.billing.app import SANDBOX, App
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.values import timestamp, ulid

FROM_THE_BEGINNING: Final = timestamp.text_of(0)  # when definitions were created that no command created


@lru_cache(maxsize=1 << 10)
def sandbox_of(namespace: str) -> App:
    """The app that a namespace has before any command."""
    return App(
        id=ulid.make(0, f"{namespace}/app/sandbox"),
        type=SANDBOX,
        name="Sandbox",
        status="ready",
        created_at=FROM_THE_BEGINNING,
        updated_at=FROM_THE_BEGINNING,
    )


class AppsNow:
    """The apps of a namespace by the definitions in force."""

    def __init__(self, index: DefinitionIndex, namespace: str) -> None:
        self._index = index
        self._namespace = namespace

    def find(self, id: str) -> App | None:
        """The app with an id, uninstalled or not."""
        found = self._index.find(App, self._namespace, id)
        if found is not None:
            return found
        sandbox = sandbox_of(self._namespace)
        return sandbox if sandbox.id == id else None

    def installed(self) -> list[App]:
        """The apps that are not uninstalled, oldest first."""
        stored = self._index.all(App, self._namespace)
        sandbox = sandbox_of(self._namespace)
        all_of_them = stored if any(one.id == sandbox.id for one in stored) else [sandbox, *stored]
        return [one for one in all_of_them if not one.is_deleted]
