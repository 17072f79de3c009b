"""Wired platforms whose embedders are made here: two of them, of different dimensions, that load nothing.

Only the class of the embedder is stood in for; the wiring, the engines, the database and the ledger are the real ones.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

import ui.wiring
from ingest.tables import Position, Version
from kernel.index.schema import DENSE, keyword
from kernel.jobs import Cancelled
from kernel.settings import load
from kernel.tables import Change, Flip
from rehearsal.examples import NewExample
from rehearsal.ground import Quote
from rehearsal.tables import Example
from tests.house import WordEmbedder, incoming, page, visible_points
from ui.platform import Platform
from ui.wiring import Wired

SMALL, LARGE, HEAVIER = "words", "letters", "letters-with-other-weights"


class LetterEmbedder(WordEmbedder):
    """Another embedder: letter triples, signs in 96 places, and a tokenizer for which letters are tokens."""

    name = path = LARGE
    dimension, max_tokens = 96, 254
    fingerprint = "letters:0123456789abcdef:96:normalized"

    def embed_queries(self, texts: Any) -> np.ndarray:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = 1e-3
            folded = f" {text.casefold()} "
            for i in range(len(folded) - 2):
                number = int.from_bytes(hashlib.blake2b(folded[i : i + 3].encode(), digest_size=4).digest(), "big")
                row[number % self.dimension] += 1 if number >> 31 else -1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embedder(name: str, *_: Any) -> Any:
    """The embedder of a name; the settings' default is the small one."""
    return LetterEmbedder() if name == LARGE else WordEmbedder()


@contextmanager
def stand_ins() -> Iterator[None]:
    """Platforms wired within use the embedders of this module."""
    real = ui.wiring.SentenceTransformerEmbedder
    ui.wiring.SentenceTransformerEmbedder = embedder  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        ui.wiring.SentenceTransformerEmbedder = real  # type: ignore[misc]


@contextmanager
def opened(home: Path, *, step: Callable[[str], None] | None = None, **settings: Any) -> Iterator[Platform]:
    """A platform on a home, started as a node starts."""
    wired = Wired(load(home=home, **{"min_free_mb": 0, **settings}), step=step)
    try:
        wired.recover()
        yield Platform(wired)
    finally:
        wired.close()


OTTER_1 = page("Otter", {"Food": "The otter eats crabs.", "Home": "The otter sleeps in kelp.", "Play": "Otters slide."})
OTTER_2 = page("Otter", {"Food": "The otter eats crabs.", "Home": "The otter sleeps on the shore.", "Age": "Twelve."})
HERON = page("Heron", {"Food": "The heron spears frogs.", "Nest": "The heron nests in tall trees."})
TOAD = page("Toad", {"Skin": "The toad is dry and warty.", "Song": "The toad trills in spring."})
NEWT = page("Newt", {"Tail": "The newt regrows a lost tail."})


def furnish(platform: Platform) -> dict[str, Any]:
    """Two versions of one document, two others, three examples. What a test needs to know of them."""
    w = platform.w
    otter = w.ingest.add([incoming("otter.md", OTTER_1)])["documents"][0]["document"]
    first = w.epochs.committed()
    w.ingest.add([incoming("otter.md", OTTER_2)])
    rows = w.ingest.add([incoming("heron.md", HERON), incoming("toad.md", TOAD)])["documents"]
    found = w.search.search("The otter eats crabs.", 1).passages[0]
    quote = Quote(document=otter, point=found.chunk, text="The otter eats crabs.")
    questions = ["What does an otter eat?", "Otter food?", "What is eaten by otters?"]
    examples = w.examples.add([NewExample(workspace="default", question=q, quotes=(quote,)) for q in questions])
    return {"otter": otter, "first": first, "heron": rows[0]["document"], "toad": rows[1]["document"], "ex": examples}


def answers(platform: Platform, question: str, **asked: Any) -> list[str]:
    """Texts of what a search finds, best first."""
    return [hit["text"] for hit in platform.search(question, 3, **asked)["hits"]]


def assert_whole(platform: Platform) -> None:
    """One index serves: of every live version the points its rows name, visible; nothing half done, nothing else."""
    w = platform.w
    with w.db.read() as session:
        assert not list(session.scalars(select(Flip.epoch).where(Flip.state != "done")))
        assert not list(session.scalars(select(Change.id).where(Change.state != "done")))
        live = select(Position.point).join(
            Version, (Version.document == Position.document) & (Version.number == Position.version)
        )
        shown = set(session.scalars(live.where(Version.state == "live")))
        ever = set(session.scalars(select(Position.point)))
        approved = set(session.scalars(select(Example.point).where(Example.status == "approved")))
        others = set(session.scalars(select(Example.point)))
    when = w.search.when()
    assert visible_points(w.index, when, keyword("kind", "chunk")) == shown
    assert visible_points(w.index, when, keyword("kind", "example")) == approved
    points = {str(point.id): point for point in w.index.scroll(None, with_vectors=True)}
    assert ever <= points.keys() <= ever | others
    assert {len(point.vector[DENSE]) for point in points.values()} == {w.embedder.dimension}  # type: ignore[index, arg-type, call-overload]
    folders = {folder.name for folder in w.home.glob("index*") if (folder / "edge_config.json").exists()}
    filling = w.replacer.filling()
    assert folders == {w.serving.current.collection} | ({filling["collection"]} & folders if filling else set())


def cancelled(*_: Any) -> None:
    """A progress that stops whatever reports to it."""
    raise Cancelled


def switch_and_die(home: Path, why: str, step: str, nth: int = 1) -> None:
    """A home, a switch or maintenance of it as a job, a publish meanwhile, and a SIGKILL at a step of it.

    The step `optimizing` is a moment within the process that optimizes.
    """
    from kernel.index import replace
    from tests.dying import kill

    replace._BATCH = 2
    seen = []

    def at(name: str) -> None:
        seen.append(name)
        if name == "filled" and seen.count("filled") == 1:
            edit(platform)
        if name == step and seen.count(name) == nth:
            kill()

    with stand_ins(), opened(home, step=at) as platform:
        furnish(platform)
        seen.clear()
        if step == "optimizing":
            replace.optimize = lambda folder, alive: _die_within(folder)  # type: ignore[assignment]
        platform.w.ledger.run(
            (platform.enqueue_switch(LARGE) if why == "switch" else platform.enqueue_maintain())["job"]
        )


def _die_within(folder: Path) -> None:
    from kernel.index import compact
    from tests.dying import kill

    compact.optimize(folder, alive=kill, every=0.3)


def edit(platform: Platform) -> None:
    """A new document and a new version, in another thread: this one may hold an index."""
    files = [incoming("newt.md", NEWT)], [incoming("otter.md", OTTER_1)]
    thread = threading.Thread(target=lambda: [platform.w.ingest.add(some) for some in files])
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def assert_answers(platform: Platform, *, edited: bool) -> None:
    """What is live is found, what was is found as it was, and what came during the switch is there."""
    assert answers(platform, "The heron nests in tall trees.")[0] == "The heron nests in tall trees."
    otter = "The otter sleeps in kelp." if edited else "The otter sleeps on the shore."
    assert otter in answers(platform, "Where does the otter sleep?")
    assert "The otter sleeps in kelp." in answers(platform, "Where does the otter sleep?", epoch=1)
    assert "The otter sleeps on the shore." in answers(platform, "Where does the otter sleep?", epoch=2)
    assert ("The newt regrows a lost tail." in answers(platform, "A lost tail.")) is edited


def tiny_model(folder: Path) -> Path:
    """A sentence-transformers folder as anybody could have it: a BERT of a few thousand weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *".,:", *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=256, **sizes)).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=200)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save(str(folder / "model"))
    return folder / "model"
