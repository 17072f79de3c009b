"""A vector is made once while it is remembered, and a delete in any process makes everybody forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from kernel.audit import record
from kernel.database import Database
from retrieval.remembered import AT_ONCE, RememberingEmbedder
from tests.doors import doors, opened
from tests.house import DIMENSION, WordEmbedder, incoming


class Counting(WordEmbedder):
    """Counts what it is asked to embed."""

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.queries: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.fingerprint = "words"

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        self.documents += texts
        self.meanwhile()
        return WordEmbedder().embed_queries(texts)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        self.queries += texts
        self.meanwhile()
        return WordEmbedder().embed_queries(texts)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    yield database
    database.close()


def deed(db: Database) -> None:
    with db.write() as session:
        record(session, "delete", "doc_1")


def test_a_text_is_embedded_once_and_rows_stay_in_order(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db)
    outer.embed_documents(["b", "a"])
    again = outer.embed_documents(["a", "c", "b", "a"])
    assert inner.documents == ["b", "a", "c"]
    assert np.array_equal(again, WordEmbedder().embed_queries(["a", "c", "b", "a"]))
    assert outer.embed_documents([]).shape == (0, DIMENSION)


def test_a_question_and_a_document_of_the_same_words_are_two_vectors(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db)
    outer.embed_documents(["same"])
    outer.embed_queries(["same"])
    assert (inner.documents, inner.queries) == (["same"], ["same"])


def test_what_came_out_cannot_change_what_is_remembered(db: Database) -> None:
    outer = RememberingEmbedder(Counting(), db)
    outer.embed_queries(["a"])[:] = 0
    outer.embed_queries(["a"])[:] = 0
    assert np.array_equal(outer.embed_queries(["a"]), WordEmbedder().embed_queries(["a"]))


def test_the_least_recently_used_goes_first(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db, limit=2 * DIMENSION * 4)
    for text in ("a", "b", "a", "c", "a", "b"):
        outer.embed_queries([text])
    assert inner.queries == ["a", "b", "c", "b"]
    assert len(outer) == 2


def test_a_call_of_very_many_pushes_nothing_out(db: Database) -> None:
    outer = RememberingEmbedder(Counting(), db)
    outer.embed_queries([str(i) for i in range(AT_ONCE + 1)])
    assert len(outer) == 0


def test_a_delete_of_another_process_is_seen_at_the_next_question(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db)
    outer.embed_documents(["a", "b"])
    deed(db)
    outer.embed_documents(["a"])
    assert inner.documents == ["a", "b", "a"]
    assert len(outer) == 1


def test_what_is_embedded_while_a_delete_erases_is_not_kept(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db)

    def erased() -> None:
        deed(db)
        outer.erase("doc_1", [])

    inner.meanwhile = erased
    outer.embed_documents(["a"])
    assert len(outer) == 0


def test_another_embedder_has_its_own_vectors_and_a_switch_halfway_mixes_nothing(db: Database) -> None:
    inner = Counting()
    outer = RememberingEmbedder(inner, db)
    outer.embed_queries(["a"])
    inner.fingerprint = "others"
    outer.embed_queries(["a"])
    assert inner.queries == ["a", "a"]

    def switched() -> None:
        inner.fingerprint, inner.meanwhile = "third", lambda: None

    inner.meanwhile = switched
    outer.embed_queries(["a", "b"])
    assert inner.queries[2:] == ["b", "a", "b"]


def test_an_ask_embeds_its_question_once_and_a_delete_leaves_no_vector(tmp_path: Path) -> None:
    with doors(), opened(tmp_path / "home") as platform:
        text = "# Zebras\n\nThe zebra eats grass in the morning.\n\nAt noon the zebra sleeps under a tree.\n"
        (row,) = platform.w.ingest.add([incoming("zebra.md", text)])["documents"]
        asked: list[str] = []
        remembering = platform.w.remembering
        inner = remembering._embedder

        class Noting:
            def __getattr__(self, name: str) -> object:
                return getattr(inner, name)

            def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
                asked.extend(texts)
                return inner.embed_queries(texts)

        remembering._embedder = Noting()  # type: ignore[assignment]
        question = "When does the zebra eat grass?"
        first, second = platform.ask(question), platform.ask(question)
        assert first["answer"] == second["answer"]
        assert "morning" in first["answer"]
        assert asked == [question]
        assert len(remembering) > 1
        platform.w.delete.delete(row["document"])
        assert len(remembering) == 0
