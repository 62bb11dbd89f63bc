"""What the commands ask for by a key arrives as that key: through httpx, a server and the API's own splitting."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.http.paths import canonical, decoded
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1) | st.text("./%?#\\: ", min_size=1)


@given(TEXTS)
def test_a_key_is_one_segment(text: str) -> None:
    asked = httpx.URL(f"http://api.example/api/v1/customers/{segment(text)}/access")
    prefix, key, rest = canonical(asked.raw_path).rsplit("/", 2)
    assert (prefix, decoded(key), rest) == ("/api/v1/customers", text, "access")


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(Rejected, match="is empty"):
        segment("")
