"""The wiring: from settings to a platform. Nothing else chooses an engine."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.approval import Approvals
from finetune.card import Cards
from finetune.erase import RunEraser
from finetune.evaluate import Evaluator
from finetune.evidence import Evidence
from finetune.export import Exporter, Part, RetrieverExport
from finetune.facts import Facts
from finetune.forgetting import Forgetting, RetrieverScorer, Scorer
from finetune.generator.context import Contexts
from finetune.generator.evaluate import GeneratorEvaluator
from finetune.generator.export import GeneratorExport
from finetune.generator.kind import GeneratorKind
from finetune.generator.scorer import GeneratorScorer
from finetune.generator.votes import Votes
from finetune.judging import Judge
from finetune.kinds import Kind
from finetune.legs import Legs
from finetune.lineage import Lineage
from finetune.observed import Observed
from finetune.policies import GatePolicies
from finetune.proposals import Proposals
from finetune.registry import Registry
from finetune.rejudge import Rejudging
from finetune.replay import Replays
from finetune.retrain import Retrainer
from finetune.retriever import RetrieverKind
from finetune.rollout import Rollouts
from finetune.routes import Routes
from finetune.runs import Runs
from finetune.schedule import Schedules
from finetune.suites import Suites
from finetune.tune import Tuner
from ingest.add import Ingest
from ingest.delete import DeleteHandler, Eraser
from ingest.language import Languages
from ingest.library import Library
from ingest.near import Near
from ingest.publish import PublishHandler
from ingest.reading import Reading
from ingest.rechunk import Rechunker
from ingest.retention import Keeper
from ingest.tags import Tags
from ingest.uploads import Uploads
from ingest.watch import Watches
from kernel.blobs import FileBlobs
from kernel.database import Database
from kernel.embedder import SentenceTransformerEmbedder
from kernel.epochs import Epochs
from kernel.index.physical import Collections
from kernel.index.replace import Replacer
from kernel.jobs import Ledger
from kernel.settings import Settings
from rehearsal.edit import Editing
from rehearsal.examples import Examples
from rehearsal.fate import ExampleFate
from rehearsal.generate import Generation
from rehearsal.memory import Memory
from rehearsal.mix import Mixer
from rehearsal.topics import Topics
from rehearsal.vetting import Vetting
from retrieval.answer import Answerer
from retrieval.catalogue import Catalogues
from retrieval.choosing import Choosing
from retrieval.conversations import Conversations
from retrieval.filters import Filtering
from retrieval.generators import make_generator
from retrieval.lending import Lending, Shelf
from retrieval.live import RETRIEVER, LiveRetriever
from retrieval.live_generator import GENERATOR, LiveGenerator
from retrieval.preferences import Preferences
from retrieval.readings import Readings
from retrieval.remembered import RememberingEmbedder
from retrieval.reranker import make_reranker
from retrieval.scoping import Scoping
from retrieval.search import Search
from retrieval.shadow import Shadows
from retrieval.tuning import Tunings
from retrieval.turns import Turns
from retrieval.verifiers import make_verifier
from ui.pairing import Pairing
from ui.texts import texts_of


class Wired:
    """Every service of one process, built from settings. `close` lets go of all of them."""

    def __init__(self, settings: Settings, *, step: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)
        self.owner = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        self.db = Database(settings.sql_url)
        self.blobs = FileBlobs(self.home / "blobs")
        self.collections = Collections(settings, self.home)
        self.pairing = Pairing(settings, self.db, self.collections, self._make_embedder)
        self.serving = self.pairing.serving()
        self.index, self.embedder = self.serving.index, self.serving.embedder
        self.epochs = Epochs(self.db, self.index, self.owner, settings.lease_seconds, step, self.serving)
        self.library = Library(self.db, self.blobs)
        self.replacer = Replacer(
            self.db,
            self.serving,
            self.epochs,
            self.collections,
            texts_of(self.db, self.library),
            grace_ms=0 if settings.embedded else int(settings.lease_seconds * 1000),
            step=step,
        )
        fate = ExampleFate(self.library)
        self.publish = PublishHandler(self.epochs, [fate])
        self.remembering = RememberingEmbedder(self.embedder, self.db)
        self.live = LiveRetriever(self.db, self.remembering, self.home)
        self.tunings = Tunings(self.db)
        self.search = Search(
            self.index,
            self.epochs,
            self.library,
            self.live,
            settings.depth,
            self.tunings,
            reranker=make_reranker(settings.reranker),
            rerank={"auto": None, "always": True, "never": False}[settings.rerank],
            diversity=settings.diversity,
        )
        self.languages, self.tags = Languages(self.db, self.blobs), Tags(self.db)
        self.filtering, self.catalogues = Filtering(self.db, self.languages), Catalogues(self.db)
        self.scoping = Scoping(self.filtering, self.catalogues, self.search.when, settings.scope)
        self.turns = Turns(self.db)
        self.conversations = Conversations(self.db, exchanges=settings.history_exchanges, chars=settings.history_chars)
        self.preferences = Preferences(self.db, self.library)
        self.examples = Examples(self.db, self.index, self.embedder, self.epochs)
        self.vetting = Vetting(self.db, self.index, self.embedder, self.epochs, self.library)
        self.editing = Editing(self.db, self.index, self.epochs, self.library, self.examples)
        self.memory = Memory(self.db, self.index, self.library, self.examples, self.search)
        names = {"extractive", settings.generator}
        self.generators = {name: make_generator(name, self.remembering, settings.generator_key) for name in names}
        writers = {name: LiveGenerator(self.db, made, self.home) for name, made in self.generators.items()}
        shelves: dict[str, Shelf] = {RETRIEVER: self.live, GENERATOR: writers[settings.generator]}
        self.lending = Lending(Choosing(self.db), shelves)
        self.registry = Registry(self.db, self.lending, self.home)
        self.rollouts = Rollouts(self.db, self.registry, self.lending)
        self.routes = Routes(self.db, self.registry, self.lending)
        self.lineage = Lineage(self.db, self.registry)
        self.cards = Cards(self.db, self.lineage, self.home)
        # Runs before turns and memory: they find their rows by what those then take away.
        self.run_rows = RunEraser(self.db, self.registry, self.cards, self.home)
        readings = Readings()
        self.suites = Suites(self.db, self.library)
        erasers: list[Eraser] = [self.run_rows, self.turns, self.preferences, self.memory, self.suites]
        erasers += [self.remembering, self.catalogues, readings]  # last: those before them read
        self.delete = DeleteHandler(self.db, self.blobs, self.index, self.epochs, self.library, [fate], erasers)
        self.keeper = Keeper(self.db, self.blobs, self.index, self.library, [self.run_rows, self.memory, readings])
        self.near = Near(self.db, self.library)
        readers = max(1, min(4, (os.cpu_count() or 2) // 2))
        self.reading = Reading(self.embedder, settings, readers)
        self.ingest = Ingest(
            self.db,
            self.blobs,
            self.index,
            self.embedder,
            self.epochs,
            self.publish,
            settings,
            read=self.reading.read,
            readers=readers,
        )
        self.rechunker = Rechunker(self.db, self.library, self.ingest)
        if step is not None:
            self.ingest.step = step
        self.watches = Watches(self.db, self.ingest, self.delete, settings, self.owner)
        verifier = make_verifier(settings.verifier, self.remembering)
        self.answerer = Answerer(
            self.search,
            self.turns,
            self.generators,
            settings.generator,
            self.remembering,
            verifier,
            self.lending,
            writers,
            passages=settings.passages,
            threshold=settings.refusal_threshold,
            unsupported=settings.unsupported,
        )
        self.shadows = Shadows(self.db, self.answerer, self.search, self.lending)
        self.answerer.after = self.shadows.offer
        self.topics = Topics(self.db, self.index, self.epochs)
        self.generation = Generation(
            self.db,
            self.library,
            self.search,
            self.examples,
            self.generators[settings.generator],
            settings.round_trip,
        )
        self.mixer = Mixer(self.db, self.index, self.epochs)
        self.evaluator = Evaluator(self.db, self.search, self.live, self.epochs)
        self.tuner = Tuner(self.db, self.index, self.search, self.live, self.epochs, self.evaluator, self.tunings)
        self.runs = Runs(self.db, self.home)
        retriever = RetrieverKind(
            self.db,
            self.index,
            self.epochs,
            self.embedder,
            self.evaluator,
            self.registry,
            self.live,
            self.home,
            Legs(self.answerer),
            self.suites,
        )
        contexts = Contexts(self.db, self.library, self.search, self.live, self.epochs)
        answers = GeneratorEvaluator(self.db, contexts, verifier)
        generator = GeneratorKind(
            self.db,
            contexts,
            Votes(self.db, self.library, contexts),
            answers,
            verifier,
            self.registry,
            writers[settings.generator],
            self.epochs.committed,
            self.home,
            self.suites,
        )
        self.kinds: dict[str, Kind] = {kind.name: kind for kind in (retriever, generator)}
        self.gate_policies = GatePolicies(self.db)
        self.approvals = Approvals(self.db, self.registry.require_current)
        judge = Judge(self.epochs, self.kinds, self.gate_policies, Facts(self.db, self.mixer, self.home))
        self.retrainer = Retrainer(
            self.db,
            self.epochs,
            self.mixer,
            self.registry,
            self.runs,
            self.kinds,
            judge,
            self.lineage,
            self.cards,
            settings.core_watts,
        )
        self.rejudging = Rejudging(self.db, self.runs, self.kinds, judge, self.cards)
        scorers: dict[str, Scorer[Any]] = {
            retriever.name: RetrieverScorer(self.evaluator, lambda: self.embedder.path),
            generator.name: GeneratorScorer(answers, writers[settings.generator]),
        }
        self.forgetting = Forgetting(self.db, self.epochs, self.registry, self.home, scorers)
        parts: dict[str, Part] = {
            retriever.name: RetrieverExport(self.db, self.index, self.epochs, self.embedder, self.evaluator),
            generator.name: GeneratorExport(
                self.db, self.library, answers, writers[settings.generator], self.epochs.committed
            ),
        }
        self.exporter = Exporter(self.db, self.registry, self.runs, self.home, parts)
        self.evidence = Evidence(
            self.db, self.library, self.evaluator, self.registry, self.live, self._trainable(), settings.rho
        )
        self.proposals = Proposals(self.db, self.runs, self.retrainer.drawing, self.mixer)
        self.replays = Replays(self.db, settings.rho)
        self.schedules = Schedules(
            self.db, self.owner, Observed(self.db, self.registry, self.kinds, self.runs.left_out)
        )
        self.uploads = Uploads(
            self.db,
            self.blobs,
            self.home / "uploads",
            max_mb=settings.max_upload_mb,
            min_free_mb=settings.min_free_mb,
        )
        self.ledger = Ledger(self.db, self.owner, settings.lease_seconds, settings.job_attempts)

    def _trainable(self) -> list[str]:
        """Kinds that can be trained with the models that serve here."""
        return [
            name for name in self.kinds if name != "generator" or self.settings.generator.startswith("transformers:")
        ]

    def recover(self) -> None:
        """What a start does for what a crash left: flips forward, stages away, deletes on, bytes of nobody away."""
        alone = self.settings.embedded  # a home has one process; in a cluster others are at work meanwhile
        self.epochs.recover(orphaned=alone)
        self.delete.finish_interrupted(orphaned=alone)
        self.keeper.finish_interrupted()
        self.replacer.tidy()
        self.runs.clean_up(orphaned=alone)
        self.runs.settle(orphaned=alone)
        if alone:
            self.cards.complete()

    def close(self) -> None:
        self.shadows.close()
        self.reading.close()
        self.index.close()
        self.db.close()

    def _make_embedder(self, name: str) -> SentenceTransformerEmbedder:
        return SentenceTransformerEmbedder(name, self.settings.precision, self.home / "precision.json")


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
