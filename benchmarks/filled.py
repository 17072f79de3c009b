"""A home filled to a size: real abstracts that questions are judged on, and made-up sections that are only many.

Everything goes through the real ingest. Only the vectors of made-up sections are not embedded, which would take hours:
each is a real vector moved a good way (cosine 0.8), as its text is of real sentences in another order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.data import folder, jsonl, qrels
from ingest.incoming import Incoming
from kernel.embedder import SentenceTransformerEmbedder
from kernel.settings import load
from retrieval.sentences import split
from ui.wiring import Wired, guide_folder

_SECTIONS = 100
_NOISE = 0.75


class Collection:
    """What is indexed and asked: `texts` by name, judged `questions` by id, `grades`, and a pool of sentences."""

    def __init__(self, abstracts: int) -> None:
        data = folder()
        self.questions: list[tuple[str, str]] = []
        self.grades: dict[str, dict[str, int]] = {}
        if data is None or not (data / "scifact").is_dir():
            self.what = "pages of the guide (REPRISE_EVAL_DATA is not set)"
            self.texts = [(file.name, file.read_text()) for file in sorted(guide_folder().glob("*.md"))]
        else:
            self._read(data / "scifact", abstracts)
        found = (text[a:b] for _, text in self.texts for a, b in split(text))
        self.sentences = [s for s in dict.fromkeys(" ".join(s.split()) for s in found) if 40 <= len(s) <= 250]

    def _read(self, scifact: Path, abstracts: int) -> None:
        everything = {row["_id"]: f"{row['title']}\n\n{row['text']}" for row in jsonl(scifact / "corpus.jsonl")}
        asked = {row["_id"]: row["text"] for row in jsonl(next(scifact.glob("queries*.jsonl")))}
        judged = qrels(next((scifact / "qrels").glob("*.tsv")))
        wanted: dict[str, None] = {}
        for question, grades in judged.items():
            if question in asked and len(wanted) + len(grades) <= abstracts // 2:
                self.questions.append((question, asked[question]))
                self.grades[question] = grades
                wanted |= dict.fromkeys(grades)
        wanted |= dict.fromkeys(list(everything)[:abstracts])
        self.texts = [(name, everything[name]) for name in list(wanted)[:abstracts]]
        self.what = f"{len(self.texts):,} abstracts of SciFact"


class FilledHome:
    """A wired home that grows. `close` lets go of it."""

    def __init__(self, home: Path, collection: Collection, cache: Path | None) -> None:
        self.home, self._collection = home, collection
        self._rng = np.random.default_rng(0)
        self._documents = 0
        embedder = self._embedder = _Filling()

        class Filled(Wired):
            def _make_embedder(self, name: str) -> SentenceTransformerEmbedder:
                return embedder

        self.w = Filled(load(home=home, min_free_mb=0))
        file = cache / "vectors.npz" if cache else None
        if file is not None and file.exists():
            self._embedder.known = dict(np.load(file))
        self._add(Incoming(**_file(f"{name}.txt", name, text)) for name, text in collection.texts)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, **self._embedder.known)
        self._embedder.pool = np.stack(list(self._embedder.known.values()))

    @property
    def chunks(self) -> int:
        return self.w.index.count()

    def grow(self, size: int) -> None:
        """Fill up to at least `size` chunks."""
        while (missing := size - self.chunks) > 0:
            self._embedder.filling = True
            self._add(self._made_up(-(-missing // _SECTIONS)))
            self._embedder.filling = False

    def close(self) -> None:
        self.w.close()

    def _add(self, files: Iterator[Incoming]) -> None:
        self.w.ingest.add(files)

    def _made_up(self, documents: int) -> Iterator[Incoming]:
        pool = self._collection.sentences
        for _ in range(documents):
            self._documents += 1
            picked = self._rng.integers(len(pool), size=(_SECTIONS, 4))
            sections = [f"## Part {i}\n\n" + " ".join(pool[j] for j in row) for i, row in enumerate(picked)]
            name = f"filler/{self._documents}.md"
            yield Incoming(**_file(name, name, f"# Filler {self._documents}\n\n" + "\n\n".join(sections)))


class _Filling(SentenceTransformerEmbedder):
    """The real embedder, which remembers what it embedded, and which makes document vectors up while `filling`."""

    filling = False
    pool: np.ndarray

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(1)

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        if self.filling:
            size = (len(texts), self.dimension)
            noise = self._rng.normal(size=size) * (_NOISE / self.dimension**0.5)
            made = self.pool[self._rng.integers(len(self.pool), size=len(texts))] + noise
            return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        if hasattr(self, "pool"):
            return super().embed_documents(texts, progress)
        names = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in self.known}
        self.known |= dict(zip(new, super().embed_documents(list(new.values()), progress), strict=True))
        return np.stack([self.known[name] for name in names])


def _file(path: str, name: str, text: str) -> dict[str, object]:
    return {"path": path, "name": name, "source": name, "workspace": "default", "content": text.encode()}
