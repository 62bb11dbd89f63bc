"""The form encoding of Stripe's v1 API, `payload[value]=3` and `lines[0][amount]=5`, and the JSON of its v2 API.

Owns: reading it into nested objects. Does not own: which parameters a route takes.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from pipeline.local.stripe_sandbox.errors import invalid

Form = dict[str, "str | Form"]


def parse(encoded: str) -> Form:
    """Read a body or a query.

    Lists are objects whose names are the positions.

    >>> parse("event_name=tokens&payload[value]=3&payload[stripe_customer_id]=cus_1")
    {'event_name': 'tokens', 'payload': {'value': '3', 'stripe_customer_id': 'cus_1'}}

    Raises:
        StripeRefusal: 400, a parameter is both a value and an object.
    """
    if encoded.startswith("{"):
        return _of_json(encoded)
    form: Form = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        path = name.replace("]", "").split("[")
        inner = form
        for part in path[:-1]:
            following = inner.setdefault(part, {})
            if isinstance(following, str):
                raise invalid(f"Invalid object: {name}", param=path[0])
            inner = following
        if isinstance(inner.get(path[-1]), dict):
            raise invalid(f"Invalid string: {name}", param=path[0])
        inner[path[-1]] = value
    return form


def _of_json(encoded: str) -> Form:
    """The body of a request of the v2 API; lists are objects whose names are the positions."""
    try:
        read = json.loads(encoded)
    except ValueError:
        raise invalid("Invalid JSON.") from None
    form = _form(read)
    return form if isinstance(form, dict) else {}


def _form(value: object) -> str | Form:
    if isinstance(value, dict):
        return {str(name): _form(one) for name, one in value.items()}
    if isinstance(value, list):
        return {str(place): _form(one) for place, one in enumerate(value)}
    return str(value)


def only(form: Form, *known: str) -> None:
    """Refuse parameters that the route does not know.

    Raises:
        StripeRefusal: 400 `parameter_unknown`.
    """
    for name in form:
        if name not in known and name != "expand":
            raise invalid(f"Received unknown parameter: {name}", "parameter_unknown", name)


def text(form: Form, name: str, most: int = 500) -> str:
    """A required string.

    Raises:
        StripeRefusal: 400 `parameter_missing`, or the value is too long or an object.
    """
    value = form.get(name, "")
    if value == "":
        raise invalid(f"Missing required param: {name}.", "parameter_missing", name)
    if isinstance(value, dict):
        raise invalid(f"Invalid string: {name}", param=name)
    if len(value) > most:
        raise invalid(f"Invalid string: {value[:8]}…; must be at most {most} characters", param=name)
    return value


def texts(form: Form, name: str) -> dict[str, str]:
    """An object of strings; absent, it is empty.

    Raises:
        StripeRefusal: 400, it is no object of strings.
    """
    value = form.get(name, {})
    if isinstance(value, str):
        raise invalid(f"Invalid object: {name}", param=name)
    found: dict[str, str] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            raise invalid(f"Invalid string: {name}[{key}]", param=name)
        found[key] = one
    return found


def integer(form: Form, name: str, default: int | None = None) -> int:
    """A whole number.

    Raises:
        StripeRefusal: 400, it is absent without a default, or no whole number.
    """
    value = form.get(name)
    if value is None and default is not None:
        return default
    try:
        return int(text(form, name))
    except ValueError:
        raise invalid(f"Invalid integer: {value}", "parameter_invalid_integer", name) from None


def part(form: Form, name: str) -> Form:
    """An object; absent, it is empty.

    Raises:
        StripeRefusal: 400, it is no object.
    """
    value = form.get(name, {})
    if isinstance(value, str):
        raise invalid(f"Invalid object: {name}", param=name)
    return value


def parts(form: Form, name: str) -> list[Form]:
    """A list of objects; absent, it is empty.

    Raises:
        StripeRefusal: 400, it is no list, or a member is no object.
    """
    return [part({name: one}, name) for one in part(form, name).values()]
