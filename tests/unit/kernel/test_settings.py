"""Settings: from the environment, checked at once, told together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.errors import UserError
from kernel.settings import Settings, load


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("REPRISE_")]:
        monkeypatch.delenv(name)


def test_everything_has_a_default_and_a_description() -> None:
    assert load() == Settings()
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_is_read_and_what_is_given_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPRISE_PASSAGES", "9")
    monkeypatch.setenv("REPRISE_RHO", "0.4")
    settings = load(rho=0.1, home=tmp_path, workspace=None)
    assert (settings.passages, settings.rho, settings.workspace) == (9, 0.1, "default")


def test_all_problems_are_told_together_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_API_PORT", "99999")
    monkeypatch.setenv("REPRISE_PRECISION", "float8")
    with pytest.raises(UserError) as refusal:
        load(rho=2, collection="no spaces")
    assert refusal.value.code == "bad_settings"
    for part in ("REPRISE_API_PORT='99999'", "REPRISE_PRECISION='float8'", "REPRISE_RHO=2", "REPRISE_COLLECTION="):
        assert part in refusal.value.message
    assert "settings.md" in refusal.value.hint


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().rho = 0.3  # type: ignore[misc]


def test_the_profile_follows_from_the_servers_that_are_named(tmp_path: Path) -> None:
    alone = load(home=tmp_path)
    assert alone.embedded
    assert alone.sql_url == f"sqlite:///{tmp_path / 'reprise.db'}"
    cluster = load(home=tmp_path, qdrant_url="http://q", database_url="postgresql://d")
    assert not cluster.embedded
    assert cluster.sql_url == "postgresql://d"
