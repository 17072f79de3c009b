"""Domains that a platform may learn one after another: texts, questions to practise and questions held out.

    scifact   claims and abstracts                climate   claims and sentences of encyclopedia articles
    tsqa      questions about a period            clinc     utterances and other utterances of the same intent
    xquad-es  Spanish questions and paragraphs    clapnq    real users' questions and passages

Whether a question is held out is decided by a hash of it, once for all seeds and orders. Vectors are of the packaged
model, embedded once and kept in the folder of the benchmark.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.labelled import Grades, Labelled, read
from finetune.materialise import ASKED, tell_apart

SETS = ("scifact", "tsqa", "climate", "clinc", "xquad-es", "clapnq")
CLUSTERS = 8
"""Slices of a domain: its questions by topic, as the platform slices what nobody named."""
_HELD_OUT_OF = 3
_SHOWN, _ASKED, _HELD_OUT = 10, 3, 2
"""Of each intent of clinc: utterances that stand in the index, that are trained on, that are held out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A question with the rows of its domain's texts that answer it, and the vector of the base model."""

    id: str
    question: str
    relevant: tuple[int, ...]
    slice: str
    vector: np.ndarray = field(repr=False)
    negatives: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Domain:
    """One domain. `vectors` (texts, dimension) are frozen: adapters change the questions' side alone."""

    name: str
    vectors: np.ndarray = field(repr=False)
    train: tuple[Asked, ...] = field(repr=False)
    held_out: tuple[Asked, ...] = field(repr=False)


Embed = Callable[[list[str], bool], np.ndarray]
"""Texts (True) or questions (False) to unit rows."""


def domain(data: Path, name: str, folder: Path, embed: Embed, *, train: int, held_out: int) -> Domain:
    """A domain with at most so many questions of each kind; its vectors are read from `folder` once they are there.

    Raises:
        SystemExit: the data does not hold it.
    """
    found = clinc(data) if name == "clinc" else read(data, name, None)
    if found is None:
        raise SystemExit(f"the data holds no {name!r}; there may be {', '.join(SETS)}")
    texts = _kept(folder / f"{name}.texts.npy", lambda: embed([text for _, text in found.texts], True))
    asked = _kept(folder / f"{name}.questions.npy", lambda: embed([text for _, text in found.questions], False))
    place = {text: n for n, (text, _) in enumerate(found.texts)}
    order = sorted(range(len(found.questions)), key=lambda n: _hash(found.questions[n][0]))
    out = [n for n in order if _is_held_out(name, found.questions[n][0])][:held_out]
    kept = [n for n in order if not _is_held_out(name, found.questions[n][0])][:train]
    slices = dict(zip(kept, _topics(name, asked[kept]), strict=True))

    def one(n: int) -> Asked:
        question, text = found.questions[n]
        relevant = tuple(sorted(place[t] for t in found.grades[question]))
        return Asked(
            id=f"{name}:{question}",
            question=text,
            relevant=relevant,
            slice=slices.get(n, name),
            vector=asked[n],
            negatives=_hard(texts, asked[n], relevant) if n in slices else (),
        )

    return Domain(name=name, vectors=texts, train=tuple(map(one, kept)), held_out=tuple(map(one, out)))


def _hard(texts: np.ndarray, question: np.ndarray, relevant: tuple[int, ...]) -> tuple[int, ...]:
    near = [int(n) for n in np.argsort(-(texts @ question), kind="stable")[:ASKED] if n not in relevant]
    return tuple(near[i] for i in tell_apart(texts[list(relevant)], list(texts[near])))


def _topics(name: str, vectors: np.ndarray) -> list[str]:
    from sklearn.cluster import KMeans

    found = KMeans(min(CLUSTERS, len(vectors)), n_init=4, random_state=0).fit_predict(vectors)
    return [f"{name}/{cluster}" for cluster in found]


def clinc(data: Path) -> Labelled | None:
    file = data / "clinc150" / "data_full.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text())
    texts, questions = [], []
    grades: Grades = {}
    for part, first, most in (("train", _SHOWN, _ASKED), ("test", 0, _HELD_OUT)):
        by_intent: dict[str, list[str]] = {}
        for utterance, intent in found[part]:
            by_intent.setdefault(intent, []).append(utterance)
        for intent, said in sorted(by_intent.items()):
            texts += [(f"{intent}/{n}", text) for n, text in enumerate(said[:first])]
            for n, text in enumerate(said[first : first + most]):
                questions.append((f"{part}/{intent}/{n}", text))
                grades[f"{part}/{intent}/{n}"] = {f"{intent}/{k}": 1 for k in range(_SHOWN)}
    return Labelled(texts=texts, questions=questions, grades=grades)


def _is_held_out(name: str, question: str) -> bool:
    if name == "clinc":
        return question.startswith("test/")
    return int(_hash(question)[:8], 16) % _HELD_OUT_OF == 0


def _kept(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not file.exists():
        aside = file.with_suffix(".tmp.npy")
        np.save(aside, make())
        aside.replace(file)
    found: np.ndarray = np.load(file)
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
