"""Secrets are read from files, one source each, and no error shows one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline import settings as module
from pipeline.errors import Rejected
from pipeline.setting_sources import MOST_SECRET_BYTES, variables, with_secrets
from pipeline.settings import READ_FROM_FILES, Settings

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(**values: object) -> str:
    with pytest.raises(Rejected) as caught:
        with_secrets(values, ["redis_password"])
    return caught.value.detail


def test_every_secret_can_be_in_a_file() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert secrets == {*READ_FROM_FILES, "api_key"}
    assert {f"{name}_file" for name in secrets} <= Settings.model_fields.keys()


@pytest.mark.parametrize("content", ["hush", "hush\n", "hush\r\n"])
def test_the_end_of_the_line_is_not_part_of_a_secret(content: str) -> None:
    Path("s").write_bytes(content.encode())
    found = with_secrets({"redis_password_file": "s"}, ["redis_password"])
    assert found["redis_password"].get_secret_value() == "hush"


def test_other_white_space_is_part_of_it() -> None:
    Path("s").write_text(" a b \n\n")
    assert Settings(redis_password_file="s").redis_password.get_secret_value() == " a b \n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "which is empty."),
        (b"\n", "which is empty."),
        (b"\xff", "which is not UTF-8 text."),
        (b"x" * (MOST_SECRET_BYTES + 1), "which is too large for a secret."),
    ],
)
def test_a_file_without_a_secret_is_refused(content: bytes, why: str) -> None:
    Path("s").write_bytes(content)
    assert refusal(redis_password_file="s") == f"redis_password_file is s, {why}"


def test_a_file_that_cannot_be_read_is_refused() -> None:
    assert refusal(redis_password_file="s") == (
        "redis_password_file is s, which cannot be read: No such file or directory."
    )


@pytest.mark.parametrize("given", ["hush", SecretStr("hush")])
def test_a_secret_is_given_once(given: object) -> None:
    detail = refusal(redis_password=given, redis_password_file="s")
    assert detail == "redis_password and redis_password_file are both set; only one may be."


def test_a_secret_of_the_file_and_a_file_of_the_environment_are_two(monkeypatch: Patch) -> None:
    Path("tallymark.toml").write_text('kafka_password = "hush"\n')
    monkeypatch.setenv("TALLYMARK_KAFKA_PASSWORD_FILE", "s")
    with pytest.raises(
        Rejected, match=r"^kafka_password and kafka_password_file are both set; only one may be\.$"
    ):
        module.load()


def test_the_key_of_commands_is_given_once(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TALLYMARK_API_KEY", "hush")
    monkeypatch.setenv("TALLYMARK_API_KEY_FILE", "s")
    with pytest.raises(Rejected, match=r"^api_key and api_key_file are both set; only one may be\.$"):
        module.load()


def test_a_wrong_secret_names_its_file(monkeypatch: Patch) -> None:
    Path("s").write_text(base64.b64encode(b"hush").decode())
    monkeypatch.setenv("TALLYMARK_SECRETS_KEY_FILE", "s")
    with pytest.raises(Rejected) as caught:
        module.load()
    assert caught.value.detail == "TALLYMARK_SECRETS_KEY_FILE is wrong: every key must be base64 of 32 bytes."


def test_variables_have_the_names_of_settings_in_any_case(monkeypatch: Patch) -> None:
    monkeypatch.setenv("tallymark_KAFKA", "x")
    monkeypatch.setenv("TALLYMARK_OTHER", "y")
    assert variables(["kafka"]) == {"kafka": "x"}
