"""What a delete or an expiry takes out of the memory of the process, at once and without another question."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ui.wiring
from retrieval.catalogue import Catalogue
from retrieval.naming import key_of
from tests.doors import doors, opened
from tests.house import WordEmbedder, incoming
from ui.platform import Platform

pytestmark = pytest.mark.integration

OUR_PACKAGES = ("kernel", "ingest", "retrieval", "rehearsal", "finetune", "ui")
QUESTION = "What does the Quorvex policy say of the zwiebelturm-77?"


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(ui.wiring, "SentenceTransformerEmbedder", lambda *_given: WordEmbedder())
    with doors(), opened(tmp_path / "home") as platform:
        text = "# Quorvex policy\n\nThe Quorvex policy says that the zwiebelturm-77 is painted in ochre.\n"
        platform.ingest([incoming("Quorvex policy.md", text, tags=("ochre",)), incoming("b.md", "# Rye\n\nRye grows.")])
        assert "ochre" in platform.ask(QUESTION)["answer"]
        yield platform


def caches_of_words() -> dict[str, Any]:
    """Every cache of a function of ours that keeps many results, whoever adds one."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OUR_PACKAGES:
            caches = (kept for kept in vars(module).values() if isinstance(kept, type(key_of)))
            found |= {
                f"{c.__module__}.{c.__name__}": c for c in caches if (c.cache_parameters()["maxsize"] or 0) > 1000
            }
    return found


def kept_words() -> dict[str, int]:
    return {name: kept.cache_info().currsize for name, kept in caches_of_words().items() if kept.cache_info().currsize}


def test_no_catalogue_and_no_cache_keeps_a_word_of_a_deleted_document(platform: Platform) -> None:
    catalogues = platform.w.catalogues
    made = catalogues.of("default"), catalogues.of(None)
    assert all("quorvex" in str(told(one)) for one in made)
    assert {name.rpartition(".")[2] for name in kept_words()} >= {"_words_of", "_stemmed", "stem", "_fold", "key_of"}
    platform.delete("Quorvex policy.md")
    assert kept_words() == {}
    for shelf in catalogues._shelves.values():
        assert len(shelf.catalogue) == 1
        assert not any(word in str(told(shelf.catalogue)).casefold() for word in ("quorvex", "ochre"))
    assert "quorvex" in str(told(made[0])), "who is reading the one before goes on reading it"
    assert {card.entry.name for card in catalogues.of("default").cards.values()} == {"b.md"}


def test_no_cache_keeps_a_word_of_an_expired_version(platform: Platform) -> None:
    platform.ingest([incoming("Quorvex policy.md", "# Quorvex policy\n\nNothing is painted.\n")])
    platform.ask(QUESTION)
    assert kept_words()
    platform.set_retention("default", versions=1)
    platform.apply_retention("default")
    assert kept_words() == {}


def told(catalogue: Catalogue) -> list[Any]:
    """Everything it holds."""
    return list(vars(catalogue).values())
