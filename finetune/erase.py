"""What a delete, an expiry or a person takes out of the folders of runs: training rows, and names on cards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from finetune.card import Cards
from finetune.files import drop_lines, read_lines
from finetune.lineage import ANSWER, PASSAGES, retrains
from finetune.quoted import Quoted
from finetune.registry import Registry
from finetune.runs import PROBE, RUNS
from finetune.tables import Adapter, RunDocument
from ingest.tables import Document
from kernel.database import Database, listed
from rehearsal.ground import made_of, mentioning, standing_only_on
from rehearsal.tables import Mention, MixRow
from retrieval.tables import Cited, Turn


class RunEraser:
    """`ingest.delete.Eraser` and `ingest.retention.Expirer`: takes a document's words out of run folders, and names the
    adapters that saw them."""

    def __init__(self, db: Database, registry: Registry, cards: Cards, home: Path) -> None:
        self._db, self._registry, self._cards, self._home = db, registry, cards, home
        self._quoted = Quoted(db, home)

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        with self._db.read() as session:
            examples = made_of(session, [document])
            examples |= set(session.scalars(select(Cited.turn).where(Cited.document == document)))  # votes are rows too
            saw = select(RunDocument.run, RunDocument.role).where(RunDocument.document == document)
            noted = session.execute(saw).all()
        quoting = self._quoted.forget(document)
        self._take_out_passages(lambda passage: passage["document"] == document)
        runs, redacted = self._take_out(examples)
        trained = self._registry.trained_on(sorted({*runs, *(run for run, role in noted if role == ANSWER)}))
        for adapter in self._carded(quoting, [run for run, _ in noted]):
            self._cards.write(adapter)
        told: dict[str, Any] = {"adapters_trained_on_it": trained, "training_rows_redacted": redacted}
        if not trained:
            return told
        with self._db.read() as session:
            kinds = list(session.scalars(select(Adapter.kind).where(Adapter.name.in_(trained)).distinct()))
        return told | {"retrain": retrains(document, kinds)}

    def expire(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        with self._db.read() as session:
            examples = set(standing_only_on(session, document, points))
            examples |= set(session.scalars(select(Mention.example).where(mentioning(document, points))))
        gone = set(points)
        self._take_out_passages(lambda passage: passage["chunk"] in gone)
        return {"training_rows_redacted": self._take_out(examples)[1]}

    def withdraw(self, rows: Collection[str]) -> int:
        """Take out the training rows of these examples, and of these turns that were practised as votes; how many."""
        return self._take_out(set(rows))[1]

    def _carded(self, quoting: Collection[str], saw: Collection[str]) -> list[str]:
        """Adapters whose cards name a document: verdicts of these runs quote it, or these runs saw it."""
        with self._db.read() as session:
            of = list(session.scalars(select(Adapter.name).where(Adapter.run.in_([*quoting, *saw]))))
        return sorted({*of, *self._registry.trained_on(list(saw))}) if of else []

    def _take_out_passages(self, gone: Callable[[dict[str, Any]], bool]) -> None:
        """Passages of a run may be of documents that none of its examples stands on: all runs are looked at."""
        for folder in ("*", f"*/{PROBE}"):
            for file in (self._home / RUNS).glob(f"{folder}/{PASSAGES}"):
                drop_lines(file, gone)

    def _take_out(self, examples: set[str]) -> tuple[list[str], int]:
        """The runs whose mix held one of them, and how many of their training rows went."""
        with self._db.read() as session:
            runs = sorted(set(session.scalars(select(MixRow.run).where(MixRow.example.in_(listed(examples))))))
        return runs, sum(
            drop_lines(self._home / RUNS / run / "train.jsonl", lambda row: row["example"] in examples) for run in runs
        )


def catch_up(db: Database, folder: Path) -> None:
    """Take the words of documents and turns that were deleted while a run's folder was being written out of it: no
    delete found them there. Rows that one of their passages answers, as votes may be, go with them. Repeatable."""
    file, rows = folder / PASSAGES, folder / "train.jsonl"
    if not file.is_file():
        return
    of = {str(passage["chunk"]): str(passage["document"]) for passage in read_lines(file)}
    voted = {str(row["example"]) for row in read_lines(rows) if row.get("part") == "vote"}
    with db.read() as session:
        named = Document.id.in_(listed(set(of.values())))
        live = set(session.scalars(select(Document.id).where(named, Document.state == "live")))
        forgotten = voted - set(session.scalars(select(Turn.id).where(Turn.id.in_(listed(voted)))))
    gone = {chunk for chunk, document in of.items() if document not in live}
    drop_lines(file, lambda passage: passage["chunk"] in gone)
    drop_lines(rows, lambda row: row["example"] in forgotten or not gone.isdisjoint(row.get("gold", ())))
