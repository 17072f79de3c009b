"""The house as tests build it: the real stack on a home folder, with an embedder that needs no model.

`WordEmbedder` is a real engine of the port: feature hashing of words (Weinberger et al. 2009), deterministic, and near
where words are shared. Tests of storage use it, so that a child process starts in a moment; `minilm` is the packaged
model, loaded once per test process. `House` wires what the wiring wires, without adapters and doors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from ingest.add import Ingest
from ingest.delete import DeleteHandler
from ingest.incoming import Incoming
from ingest.library import Library, Placed
from ingest.near import Near
from ingest.publish import PublishHandler
from ingest.retention import Keeper
from ingest.tables import Chunk, Document, Position, Version
from kernel.blobs import FileBlobs
from kernel.database import Database
from kernel.embedder import SentenceTransformerEmbedder
from kernel.epochs import Epochs
from kernel.ids import derived, now_ms
from kernel.index.edge import EdgeIndex
from kernel.index.schema import keyword, unborn, visible
from kernel.ports import Embedder, VectorIndex
from kernel.settings import load
from kernel.types import When
from rehearsal.edit import Editing
from rehearsal.examples import Examples
from rehearsal.fate import ExampleFate
from rehearsal.memory import Memory
from rehearsal.mix import Mixer
from rehearsal.tables import Example
from rehearsal.vetting import Vetting
from retrieval.conversations import Conversations
from retrieval.live import LiveRetriever
from retrieval.preferences import Preferences
from retrieval.search import Search
from retrieval.tuning import Tunings
from retrieval.turns import Turns

DIMENSION = 64
_WORD = re.compile(r"\w+|[^\w\s]")


class WordEmbedder:
    """The `Embedder` port by feature hashing: each word adds a sign to one of 64 places."""

    name = path = "words"
    dimension, max_tokens = DIMENSION, 254
    fingerprint = f"words:{DIMENSION}"

    def load(self) -> None:
        """There is nothing to load."""

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        if progress is not None:
            progress(len(texts))
        return self.embed_queries(texts)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = 1e-3  # a text without words has a direction too
            for word in _WORD.findall(text.casefold()):
                number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
                row[number % DIMENSION] += 1 if number >> 31 else -1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]


_NAMED_IN = ("ingest.wave", "ingest.publish", "rehearsal.examples", "finetune.retrain", "retrieval.answer")


@contextmanager
def numbered() -> Iterator[None]:
    """Ids that are made within are numbers in a row: no chance in what is drawn by them, nor in what it teaches."""
    numbers = count()
    with pytest.MonkeyPatch.context() as patch:
        for module in _NAMED_IN:
            patch.setattr(f"{module}.fresh", lambda prefix: f"{prefix}-{next(numbers):012x}")
        yield


@functools.cache
def minilm() -> SentenceTransformerEmbedder:
    """The packaged model, loaded."""
    embedder = SentenceTransformerEmbedder(precision="float32")
    embedder.load()
    return embedder


class House:
    """Every service that storage needs, on a home folder. `close` lets go of all of them."""

    def __init__(
        self,
        home: Path,
        *,
        embedder: Embedder | None = None,
        owner: str = "house",
        step: Callable[[str], None] | None = None,
        index: VectorIndex | None = None,
        beside: House | None = None,
        **settings: Any,
    ) -> None:
        self.settings = load(home=home, **{"min_free_mb": 0, **settings})
        self.home, self.embedder = home, embedder or WordEmbedder()
        home.mkdir(parents=True, exist_ok=True)
        self._beside = beside
        self.db = beside.db if beside else Database(self.settings.sql_url)
        self.blobs = FileBlobs(home / "blobs")
        self.index = beside.index if beside else index or EdgeIndex(home / "index", self.embedder.dimension)
        self.epochs = Epochs(self.db, self.index, owner, self.settings.lease_seconds, step)
        self.library = Library(self.db, self.blobs)
        fate = ExampleFate(self.library)
        self.publish = PublishHandler(self.epochs, [fate])
        self.ingest = Ingest(self.db, self.blobs, self.index, self.embedder, self.epochs, self.publish, self.settings)
        if step is not None:
            self.ingest.step = step
        self.live = LiveRetriever(self.db, self.embedder, home)  # type: ignore[arg-type]
        self.tunings = Tunings(self.db)
        self.search = Search(self.index, self.epochs, self.library, self.live, 100, self.tunings)
        self.examples = Examples(self.db, self.index, self.embedder, self.epochs)
        self.vetting = Vetting(self.db, self.index, self.embedder, self.epochs, self.library)
        self.editing = Editing(self.db, self.index, self.epochs, self.library, self.examples)
        self.memory = Memory(self.db, self.index, self.library, self.examples, self.search)
        self.turns = Turns(self.db)
        self.conversations = Conversations(
            self.db, exchanges=self.settings.history_exchanges, chars=self.settings.history_chars
        )
        self.preferences = Preferences(self.db, self.library)
        self.mixer = Mixer(self.db, self.index, self.epochs)
        self.delete = DeleteHandler(
            self.db,
            self.blobs,
            self.index,
            self.epochs,
            self.library,
            [fate],
            [self.turns, self.preferences, self.memory],
        )
        self.keeper = Keeper(self.db, self.blobs, self.index, self.library, [self.memory])
        if step is not None:
            self.keeper.step = step
        self.near = Near(self.db, self.library)

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def twin(self, owner: str, **given: Any) -> House:
        """Another process's services on the same database, index and blobs, as in a cluster."""
        return House(self.home, owner=owner, embedder=self.embedder, beside=self, **given)

    def close(self) -> None:
        if self._beside is None:
            self.index.close()
            self.db.close()

    def recover(self) -> None:
        """What a start does for what a crash left, in a process that has the home to itself."""
        self.epochs.recover(orphaned=True)
        self.delete.finish_interrupted(orphaned=True)
        self.keeper.finish_interrupted()

    # --- doing ------------------------------------------------------------------------------------

    def put(self, name: str, text: str, **given: Any) -> dict[str, Any]:
        """Publish one text under a name; the row of it."""
        return self.ingest.add([incoming(name, text, **given)])["documents"][0]

    # --- looking ----------------------------------------------------------------------------------

    def now(self) -> When:
        return When(epoch=self.epochs.committed(), at=now_ms())

    def shown(self, document: str, when: When | None = None) -> dict[int, list[Placed]]:
        """What a reader sees of a document, by version: index points through the visibility filter, resolved.

        Index and rows must agree, each by its own rule, unless the document was deleted between the two looks.
        """
        when = when or self.now()
        points = visible_points(self.index, when, keyword("kind", "chunk"), keyword("doc", document))
        by_version: dict[int, list[Placed]] = {}
        placed = self.library.place(sorted(points), when)
        with self.db.read() as session:
            found = session.get(Document, document)
            assert placed.keys() == points or found is None or found.state != "live"
        for place in placed.values():
            by_version.setdefault(place.version, []).append(place)
        return {v: sorted(places, key=lambda p: p.start) for v, places in by_version.items()}

    def positions(self, document: str, version: int) -> set[str]:
        """The points a version is made of, by its rows."""
        with self.db.read() as session:
            rows = session.query(Position.point).filter_by(document=document, version=version)
            return {point for (point,) in rows}

    def rows(self, table: Any) -> int:
        with self.db.read() as session:
            return session.query(table).count()

    def counts(self) -> dict[str, int]:
        """Everything that could grow: rows, points, blobs, and the epoch."""
        tables = {t.__tablename__: self.rows(t) for t in (Document, Version, Chunk, Position, Example)}
        blobs = len(list(self.blobs.keys()))
        return {**tables, "points": self.index.count(), "blobs": blobs, "epoch": self.epochs.committed()}


def incoming(name: str, text: str | bytes, **given: Any) -> Incoming:
    """A file on its way in, from a source that is called as it is."""
    content = text.encode() if isinstance(text, str) else text
    fields = {"path": name, "source": f"/files/{name}", "workspace": "default", "at": None, "explicit": False}
    return Incoming(name=name, content=content, **(fields | given))


def page(title: str, sections: dict[str, str]) -> str:
    """A Markdown page whose sections are one chunk each."""
    return f"# {title}\n\n" + "\n\n".join(f"## {heading}\n\n{body}" for heading, body in sections.items()) + "\n"


def visible_points(index: VectorIndex, when: When, *must: models.Condition) -> set[str]:
    rule = visible(when)
    conditions = [*must, *(rule.must or [])]  # type: ignore[misc]
    return {str(p.id) for p in index.scroll(models.Filter(must=conditions, must_not=rule.must_not))}


def point(name: str, *, seed: int = 0, text: str = "", **payload: Any) -> models.PointStruct:
    """A made-up point: an id from its name, a unit vector from its name and seed."""
    vector = np.random.default_rng([seed, *name.encode()]).standard_normal(DIMENSION).astype(np.float32)
    made = unborn(derived("made-up", name), (vector / np.linalg.norm(vector)).tolist(), text or name, 0)
    made.payload = {**(made.payload or {}), "kind": "chunk", "ws": "default", "doc": "d", **payload}
    return made


def random_adapter(base: Path, folder: Path, seed: int) -> Path:
    """A small retriever adapter with random weights, as a training run leaves one."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    from retrieval.encoder import load_base, quiet_peft, read_model, weights_sha256

    model, _ = load_base(read_model(base))
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
    with quiet_peft():
        peft = get_peft_model(model, config)
    random = torch.Generator().manual_seed(seed)
    weights = get_peft_model_state_dict(peft)
    folder.mkdir(parents=True)
    save_file(
        {name: torch.randn(w.shape, generator=random) * 0.2 for name, w in weights.items()},
        folder / "adapter_model.safetensors",
    )
    peft.peft_config["default"].save_pretrained(str(folder))
    (folder / "manifest.json").write_text(json.dumps({"base": {"sha256": weights_sha256(base)}}))
    return folder
