"""`/docs`: the API's page for a browser, from this process alone; the OpenAPI document as it is served.

Owns: the page and its files, what all operations have. Does not own: what one operation declares (the routes).
Swagger UI comes with the package fastapi-offline, so that the page works without the internet and no other host's
script ever runs beside a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Response
from starlette.responses import FileResponse

from pipeline.api.http.described import ASKING, CHANGING, write
from pipeline.errors import Rejected

PAGE, FILES = "/docs", "/docs/"
_STATIC = Path(fastapi_offline.__file__).parent / "static"
_NAMES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_START = "start.js"
_EXAMPLES = Path(__file__).parents[1] / "examples.json"
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Tallymark</title>
<link rel="stylesheet" href="{FILES}swagger-ui.css"><link rel="icon" href="{FILES}favicon.png">
</head>
<body>
<div id="page"></div>
<script src="{FILES}swagger-ui-bundle.js"></script><script src="{FILES}{_START}"></script>
</body>
</html>
"""
_SCRIPT = (
    'SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, docExpansion: "list"});\n'
)


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "the same for a request and its retries: it is done once, and retries get its answer for 24 hours",
}


def add(app: FastAPI) -> None:
    """Serves the page; `app` is to have no docs_url and no redoc_url of its own."""
    app.add_api_route(PAGE, page, include_in_schema=False)
    app.add_api_route(FILES + "{name}", file, include_in_schema=False)


async def page() -> Response:
    """The page itself."""
    return Response(_PAGE, media_type="text/html", headers=_SECURITY)


async def file(name: str) -> Response:
    """One of its files. Raises Rejected `not-found`."""
    if name == _START:
        return Response(_SCRIPT, media_type="text/javascript", headers=_SECURITY)
    if name not in _NAMES:
        raise Rejected("not-found", f"There is no file {name[:64]}.")
    return FileResponse(_STATIC / name, headers=_SECURITY)


@cache
def examples() -> dict[str, Any]:
    """True requests and answers, by operation. `python -m tests.api.recording --record` writes them."""
    found: dict[str, Any] = json.loads(_EXAMPLES.read_text("utf-8"))
    return found


def completed(document: dict[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with what the routes declare, and with what all of them have.

    That is: an API key, and the header `Idempotency-Key` where something changes.

    Args:
        document: as FastAPI makes it.
        shown: examples by operation.
    """
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in CHANGING and (method, path) not in ASKING:
                operation["parameters"] = [*operation.get("parameters", []), _IDEMPOTENCY_KEY]
    write(document, shown)
    return _with_keys(document)


def _with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Every call needs a key."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an API key, um_..., or a portal token"}
    }
    document["security"] = [{"key": []}]
    return document
