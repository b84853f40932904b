"""Secrets are recognised where they stand, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from vlagym.edges.secrets import masked, masked_arguments, masked_text, names_a_secret, without_home


@pytest.mark.parametrize(
    "text",
    [
        "http://alice:SECRET@mirror.example/a",
        "https://SECRET@host/x",
        "https://host/x?token=SECRET&a=1",
        "https://host/x?sig=SECRET",
        "api_key=SECRET",
        "it said {'password': 'SECRET'}",
        "Authorization=SECRET",
        "hf_SECRETSECRETSECRET",
    ],
)
def test_a_secret_in_a_text_is_masked(text: str) -> None:
    assert "SECRET" not in masked_text(text)
    assert "***" in masked_text(text)


@pytest.mark.parametrize(
    "text", ["unnorm_key=bridge_orig", "suite=libero_goal", "tokens: 11", "user@host", "a/b@c0ffee", "tokenizer=x"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked_text(text) == text


def test_settings_are_masked_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"policy": {"api_key": "abc", "unnorm_key": "bridge", "url": "ws://u:p@h:1"}, "auth_token": ["a", "b"], "n_token": 3}
    assert masked(settings) == {
        "policy": {"api_key": "***", "unnorm_key": "bridge", "url": "ws://***@h:1"},
        "auth_token": ["***", "***"],
        "n_token": 3,
    }
    monkeypatch.setenv("HOME", "/home/alice")
    assert masked_arguments(["policy.api_key=x y", "run_dir=/home/alice/r"]) == ["policy.api_key=***", "run_dir=~/r"]
    assert without_home("/home/alice2/x, /home/alice") == "/home/alice2/x, ~"
    assert names_a_secret("policy.password") and not names_a_secret("policy.unnorm_key")


def test_values_of_secret_variables_are_masked_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_ACCESS_KEY", "correct-horse-battery")
    assert masked_text("server said: correct-horse-battery is wrong") == "server said: *** is wrong"


def test_the_folder_one_is_in_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/data/evaluations")
    monkeypatch.setenv("OLDPWD", "/data/checkpoints")
    assert masked_text("/data/evaluations/run is not a run") == "/data/evaluations/run is not a run"
    assert masked_text("/data/checkpoints/x is missing") == "/data/checkpoints/x is missing"
