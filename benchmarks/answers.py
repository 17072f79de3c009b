"""Answers through the product, on real questions: right ones, their citations, and what is refused.

    REPRISE_EVAL_DATA=/path/to/data python -m benchmarks.answers [--sets clapnq,xquad] [--limit 300] [--no-peer]

Documents are ingested into a temporary home and asked with the extractive generator. Nothing is refused while asking,
so that one run gives both the answers as shipped (support below the shipped threshold counts as a refusal) and the
curve of risk against coverage. Beside it stands a plain LlamaIndex pipeline that quotes the most similar sentences of
its best nodes and refuses below a cosine; that threshold is the best one on the other sets.

Figures (shares with counts and 95 % Wilson intervals):
right          answers that hold the gold answer (XQuAD, tsqa), or quote a sentence an annotator marked (ClapNQ), of all
               questions that can be answered; a refusal is not right
precision      quoted sentences that an annotator marked; recall: marked sentences that are quoted (ClapNQ, if answered)
refused        of questions that cannot be answered; false refusals, of those that can
risk           wrong answers among the answered, when only the best-supported share of questions is answered
page           answers that cite a page with the evidence (FinanceBench); found: such a page is among the passages
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import claims as labelled
from benchmarks.cases import Remembering, alike, squad
from benchmarks.data import folder
from benchmarks.figures import auc, balanced, calibration_error, risk_coverage, wilson
from benchmarks.suites import Asked, Suite, load
from retrieval.support import REFUSAL_THRESHOLD
from ui.wiring import Wired

SETS = ("clapnq", "xquad", "tsqa", "climate_fever", "financebench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back for one question."""

    asked: Asked
    quotes: tuple[str, ...]
    score: float
    cited: frozenset[int] = frozenset()
    found: frozenset[int] = frozenset()

    @property
    def right(self) -> bool:
        if not self.asked.answerable:
            return False
        if self.asked.gold:
            return any(_among(quote, some) for some in self.asked.gold for quote in self.quotes)
        if self.asked.pages:
            return bool(self.asked.pages & self.cited)
        said = squad(" ".join(self.quotes))
        return any(squad(answer) in said for answer in self.asked.answers)


class Home(Wired):
    """A platform that embeds each text once: sentences come up in many questions, and suites share their documents."""

    embedder_of_all: Remembering | None = None

    def _make_embedder(self, name: str) -> Any:
        if Home.embedder_of_all is None:
            Home.embedder_of_all = Remembering(super()._make_embedder(name))
        return Home.embedder_of_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--limit", type=int, default=300, help="questions of a suite at most; 0 asks all of them")
    parser.add_argument("--no-peer", action="store_true", help="leave LlamaIndex out")
    given = parser.parse_args()
    data = folder()
    if data is None:
        print("REPRISE_EVAL_DATA is not set: nothing to ask. Set it to a folder with the data sets.")
        return
    chosen = [name for name in given.sets.split(",") if name in SETS and (data / name).is_dir()]
    started, figures = time.perf_counter(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as home:
        suites = [suite for name in chosen if name != "climate_fever" for suite in load(data, name, given.limit)]
        ours = _ours(suites, Path(home) / "ours")
        figures |= {name: report(name, answered, REFUSAL_THRESHOLD) for name, answered in ours.items()}
        if not given.no_peer and suites:
            plain = [suite for suite in suites if not suite.name.startswith("financebench")]
            figures["LlamaIndex"] = _judged_peer(_peer(plain, Path(home) / "peer"))
        if "climate_fever" in chosen:
            figures["climate_fever"] = claims(data, given.limit)
    print(f"\n{time.perf_counter() - started:.0f} s")
    print(json.dumps(figures))


# --- ours -------------------------------------------------------------------------------------------------------------


def _ours(suites: Sequence[Suite], home: Path) -> dict[str, list[Answered]]:
    """What the product answers, by suite."""
    from ingest.incoming import Incoming
    from kernel.settings import load as settings
    from ui.platform import Platform

    wired = Home(settings(home=home, refusal_threshold=0.0))
    platform, spaces, found = Platform(wired), dict[str, str](), dict[str, list[Answered]]()
    for suite in suites:
        key = _documents(suite)
        if key not in spaces:
            spaces[key] = f"s{len(spaces)}"
            wired.ingest.add(
                Incoming(path=name, name=name, source=name, workspace=spaces[key], content=content)
                for name, content in suite.documents
            )
        how = {"scope": "auto" if suite.scope == "inferred" else "off"}
        found[suite.name] = [
            _answered(
                asked,
                platform,
                {"workspace": spaces[key], "document": asked.document if suite.scope == "named" else None} | how,
            )
            for asked in suite.asked
        ]
    wired.close()
    return found


def _answered(asked: Asked, platform: Any, how: dict[str, Any]) -> Answered:
    shown = platform.ask(asked.question, **how)
    hits = platform.search(asked.question, 6, **how)["hits"] if asked.pages else []
    return Answered(
        asked=asked,
        quotes=tuple(c["quote"] for c in shown["citations"]),
        score=shown["support"],
        cited=frozenset(c["page"] for c in shown["citations"] if c["page"] and c["name"] == asked.document),
        found=frozenset(h["page"] for h in hits if h["page"] and h["name"] == asked.document),
    )


def _documents(suite: Suite) -> str:
    return f"{len(suite.documents)}:{suite.documents[0][0] if suite.documents else ''}"


# --- figures ----------------------------------------------------------------------------------------------------------


def report(name: str, answered: Sequence[Answered], threshold: float) -> dict[str, Any]:
    """Print the figures of one suite, and return them."""
    can = [a for a in answered if a.asked.answerable]
    cannot = [a for a in answered if not a.asked.answerable]
    kept = [a for a in can if a.score >= threshold and a.quotes]
    print(f"\n{name}: {len(can)} questions that can be answered, {len(cannot)} that cannot")
    right = sum(a.right for a in kept)
    figures: dict[str, Any] = {"n": len(answered), "right": right / len(can) if can else None}
    print(
        f"  right              {wilson(right, len(can))}",
        f"  before refusals {wilson(sum(a.right for a in can), len(can))}",
    )
    if any(a.asked.gold for a in kept):
        figures |= _citations([a for a in kept if a.asked.gold])
    if cannot:
        y = np.array([a.asked.answerable for a in answered])
        scores = np.array([a.score for a in answered])
        refused = sum(a.score < threshold or not a.quotes for a in cannot)
        print(f"  refused            {wilson(refused, len(cannot))}")
        print(f"  false refusals     {wilson(len(can) - len(kept), len(can))}")
        figures |= {
            "refused": refused / len(cannot),
            "refusal_precision": refused / max(1, refused + len(can) - len(kept)),
            "balanced": balanced(scores, y, threshold),
            "auc": auc(scores, y),
            "calibration_error": calibration_error(scores, y),
        }
        print(
            f"  balanced accuracy  {figures['balanced']:.3f}   AUC {figures['auc']:.3f}   calibration error "
            f"{figures['calibration_error']:.3f}   refusal precision {figures['refusal_precision']:.3f}"
        )
    if any(a.asked.pages for a in answered):
        found = sum(bool(a.asked.pages & a.found) for a in can)
        print(f"  page found         {wilson(found, len(can))}")
        figures["page_found"] = found / len(can)
    else:
        curve = risk_coverage(np.array([a.score for a in answered]), np.array([a.right for a in answered]))
        print("  risk at coverage   " + "  ".join(f"{share:.0%} {risk:.3f}" for share, risk in curve))
        figures["risk_coverage"] = curve
    return figures


def _citations(kept: Sequence[Answered]) -> dict[str, Any]:
    """Precision and recall of the quoted sentences, each answer against the annotator it agrees with most."""
    right = quoted = marked = hit = 0
    for a in kept:
        best = max(a.asked.gold, key=lambda some: sum(_among(quote, some) for quote in a.quotes))
        right += sum(_among(quote, best) for quote in a.quotes)
        quoted += len(a.quotes)
        marked += len(best)
        hit += sum(any(alike(gold, quote) for quote in a.quotes) for gold in best)
    print(f"  citation precision {wilson(right, quoted)}   recall {wilson(hit, marked)}")
    return {"citation_precision": right / quoted, "citation_recall": hit / marked}


def _among(quote: str, gold: Sequence[str]) -> bool:
    return any(alike(quote, sentence) for sentence in gold)


# --- the peer ---------------------------------------------------------------------------------------------------------


def _peer(suites: Sequence[Suite], home: Path) -> dict[str, list[Answered]]:
    """The two sentences most similar to the question among those of the six best nodes."""
    from llama_index.core.vector_stores import ExactMatchFilter, MetadataFilters

    from benchmarks.peers import llama_index
    from retrieval.sentences import split

    embedder = Home.embedder_of_all
    assert embedder is not None
    found, indexes = dict[str, list[Answered]](), dict[str, Any]()
    for suite in suites:
        key = _documents(suite)
        if key not in indexes:
            texts = [(name, content.decode()) for name, content in suite.documents]
            indexes[key], _ = llama_index(texts, home / str(len(indexes)))
        for asked in suite.asked:
            only = MetadataFilters(filters=[ExactMatchFilter(key="ref_doc_id", value=asked.document)])
            retriever = indexes[key].as_retriever(similarity_top_k=6, filters=only if suite.scope == "named" else None)
            texts_of = [node.node.get_content() for node in retriever.retrieve(asked.question)]
            sentences = list(dict.fromkeys(" ".join(t[a:b].split()) for t in texts_of for a, b in split(t)))
            sentences = [s for s in sentences if not s.startswith("#")]
            if not sentences:
                found.setdefault(suite.name, []).append(Answered(asked=asked, quotes=(), score=0.0))
                continue
            cosines = embedder.embed_documents(sentences) @ embedder.embed_queries([asked.question])[0]
            best = np.argsort(-cosines)[:2]
            quotes = tuple(sentences[i] for i in best)
            found.setdefault(suite.name, []).append(Answered(asked=asked, quotes=quotes, score=float(cosines[best[0]])))
    return found


def _judged_peer(found: dict[str, list[Answered]]) -> dict[str, Any]:
    figures = {}
    for name, answered in found.items():
        others = [a for other, some in found.items() if _set(other) != _set(name) for a in some]
        y = np.array([a.asked.answerable for a in others], dtype=bool)
        scores = np.array([a.score for a in others])
        both = len(others) and y.any() and not y.all()
        cut = max(np.linspace(0.1, 0.9, 81), key=lambda t: balanced(scores, y, t)) if both else 0.5
        figures[name] = report(f"LlamaIndex, {name} (refuses below {cut:.2f})", answered, float(cut))
    return figures


def _set(name: str) -> str:
    return re.split(r"[,-]", name)[0]


# --- claims -----------------------------------------------------------------------------------------------------------


def claims(data: Path, limit: int) -> dict[str, Any]:
    """The embedded verifier on climate_fever: does a sentence of evidence support a claim, does it refute it?"""
    from retrieval.verifiers import make_verifier
    from retrieval.verify import CLAIM_THRESHOLD

    some = labelled.load(data, "climate_fever")
    some = some[: 5 * limit] if limit else some
    embedder = Home.embedder_of_all or Remembering()
    judged = make_verifier("embedded", embedder).judge([c.text for c in some], [[c.evidence] for c in some])
    supports = np.array([c.label == "supports" for c in some])
    refutes = np.array([c.label == "refutes" for c in some])
    s, r = np.array([j.support for j in judged]), np.array([j.contradiction for j in judged])
    passed = int((s[supports] >= CLAIM_THRESHOLD).sum())
    wrongly = int((s[refutes] >= CLAIM_THRESHOLD).sum())
    print(f"\nclimate_fever, verifier: {len(some)} pairs")
    print(
        f"  supporting that pass {wilson(passed, int(supports.sum()))}",
        f"  refuting that pass {wilson(wrongly, int(refutes.sum()))}",
    )
    figures = {"support_auc": auc(s, supports), "contradiction_auc": auc(r, refutes)}
    print(f"  AUC of support {figures['support_auc']:.3f}, of contradiction {figures['contradiction_auc']:.3f}")
    return figures | {"support_balanced": balanced(s, supports, CLAIM_THRESHOLD)}


if __name__ == "__main__":
    main()
