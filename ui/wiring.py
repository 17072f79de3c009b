"""The wiring: from settings to a platform. Nothing else chooses an engine."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from finetune.evaluate import Evaluator
from finetune.lineage import RunEraser
from finetune.registry import Registry
from finetune.retrain import Retrainer
from finetune.runs import Runs
from finetune.schedule import Schedules
from ingest.add import Ingest
from ingest.delete import DeleteHandler, Eraser
from ingest.library import Library
from ingest.publish import PublishHandler
from kernel.blobs import FileBlobs
from kernel.database import Database
from kernel.embedder import SentenceTransformerEmbedder
from kernel.epochs import Epochs
from kernel.errors import IndexMismatch
from kernel.index.edge import EdgeIndex
from kernel.index.server import ServerIndex
from kernel.jobs import Ledger
from kernel.ports import VectorIndex
from kernel.settings import Settings
from kernel.tables import Fact
from rehearsal.examples import ExampleFate, Examples
from rehearsal.memory import Memory
from rehearsal.mix import Mixer
from retrieval.answer import Answerer
from retrieval.generators import make_generator
from retrieval.live import LiveRetriever
from retrieval.search import Search
from retrieval.turns import Turns


class Wired:
    """Every service of one process, built from settings. `close` lets go of all of them."""

    def __init__(self, settings: Settings, *, step: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)
        self.owner = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        self.db = Database(settings.sql_url)
        self.blobs = FileBlobs(self.home / "blobs")
        self.embedder = SentenceTransformerEmbedder(settings.embedder, settings.precision)
        self.index = _open_index(settings, self.home, self.embedder)
        _check_fingerprint(self.db, self.embedder)
        self.epochs = Epochs(self.db, self.index, self.owner, settings.lease_seconds, step)
        self.library = Library(self.db, self.blobs)
        fate = ExampleFate(self.library)
        self.publish = PublishHandler(self.epochs, [fate])
        self.live = LiveRetriever(self.db, self.embedder, self.home)
        self.search = Search(self.index, self.epochs, self.library, self.live, settings.depth)
        self.turns = Turns(self.db)
        self.examples = Examples(self.db, self.index, self.embedder, self.epochs, self.library)
        self.memory = Memory(self.db, self.index, self.library, self.examples, self.search)
        self.registry = Registry(self.db, self.live, self.home)
        # Runs before memory: they find their rows by what memory then takes away.
        erasers: list[Eraser] = [self.turns, RunEraser(self.db, self.registry, self.home), self.memory]
        self.delete = DeleteHandler(self.db, self.blobs, self.index, self.epochs, self.library, [fate], erasers)
        self.ingest = Ingest(self.db, self.blobs, self.index, self.embedder, self.epochs, self.publish, settings)
        if step is not None:
            self.ingest.step = step
        names = {"extractive", settings.generator}
        self.answerer = Answerer(
            self.search,
            self.library,
            self.turns,
            {name: make_generator(name, self.embedder) for name in names},
            settings.generator,
            self.embedder,
            passages=settings.passages,
            threshold=settings.refusal_threshold,
        )
        self.mixer = Mixer(self.db, self.index, self.epochs)
        self.evaluator = Evaluator(self.db, self.search, self.live, self.epochs)
        self.runs = Runs(self.db, self.home)
        self.retrainer = Retrainer(
            self.db,
            self.index,
            self.epochs,
            self.embedder,
            self.mixer,
            self.evaluator,
            self.registry,
            self.live,
            self.runs,
            self.home,
        )
        self.schedules = Schedules(self.db, self.owner)
        self.ledger = Ledger(self.db, self.owner, settings.lease_seconds, settings.job_attempts)

    def recover(self) -> None:
        """What a start does for what a crash left: flips forward, stages away, deletes on, bytes of nobody away."""
        alone = self.settings.embedded  # a home has one process; in a cluster others are at work meanwhile
        self.epochs.recover(orphaned=alone)
        self.delete.finish_interrupted(orphaned=alone)
        self.runs.clean_up()

    def close(self) -> None:
        self.index.close()
        self.db.close()


def _open_index(settings: Settings, home: Path, embedder: SentenceTransformerEmbedder) -> VectorIndex:
    if settings.qdrant_url is None:
        return EdgeIndex(home / "index", embedder.dimension)
    return ServerIndex.connect(settings.qdrant_url, settings.qdrant_api_key, settings.collection, embedder.dimension)


def _check_fingerprint(db: Database, embedder: SentenceTransformerEmbedder) -> None:
    with db.write() as session:
        fact = session.get(Fact, "embedder")
        if fact is None:
            session.add(Fact(key="embedder", value={"fingerprint": embedder.fingerprint}))
        elif fact.value["fingerprint"] != embedder.fingerprint:
            raise IndexMismatch(
                f"the index was made by {fact.value['fingerprint']!r}, and the settings name {embedder.fingerprint!r}",
                hint="set REPRISE_EMBEDDER back, or use a new --home and ingest there",
            )


def guide_folder() -> Path:
    """The project's own guide: beside the packages in a checkout, inside this package in a wheel."""
    return _shipped("guide", "_guide")


def demo_folder() -> Path:
    """Examples and earlier pages for `reprise demo`."""
    return _shipped("demo", "_demo")


def _shipped(in_docs: str, in_wheel: str) -> Path:
    here = Path(__file__).parent
    packed = here / in_wheel
    return packed if packed.is_dir() else here.parent / "docs" / in_docs


def free_mib(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 2**20
