"""`reprise eval`: retrieval, answers, citations and refusals measured on a suite of questions.

Definitions are those of docs/contract.md. What cannot be computed from the rows of a suite is null, never zero.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from finetune.metrics import mrr_at_k, ndcg_at_k, recall_at_k
from kernel.errors import UserError
from rehearsal.rows import parsed

if TYPE_CHECKING:
    from ingest.library import Library
    from ui.platform import Platform

MAX_K = 100
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def evaluate(platform: Platform, suite: str, k: int, workspace: str | None) -> dict[str, Any]:
    """Ask every question of the suite; means over all rows and per slice.

    Raises:
        UserError: `k` outside 1..100, or lines that are not suite rows; the first five are named.
    """
    if not 1 <= k <= MAX_K:
        raise UserError(f"k is {k}", hint=f"give 1 to {MAX_K}")
    rows = parse(suite, lambda item: resolve(platform.w.library, item, workspace))
    measured = [(row.get("slice") or "all", _measure(platform, row, k, workspace)) for row in rows]
    slices = sorted({name for name, _ in measured})
    whole = _summary([m for _, m in measured], k)
    whole["slices"] = {name: _summary([m for s, m in measured if s == name], k) for name in slices}
    return whole


def parse(suite: str, resolve: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, their `relevant` items with the documents' ids."""
    rows, problems = [], []
    for line, text in enumerate(suite.split("\n"), 1):  # not splitlines: a text may hold U+2028
        if not text.strip():
            continue
        try:
            row = _row(parsed(text))
            rows.append(row | {"relevant": [resolve(item) for item in row.get("relevant") or []]})
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems or not rows:
        shown = "; ".join(problems[:5]) or "it is empty"
        raise UserError(
            f"the suite cannot be used: {shown}",
            hint='each line is {"question": …, "relevant": [{"document": …, "start": …, "end": …}]}, with "answer" or '
            '"unanswerable" if you like',
            code="bad_suite",
        )
    return rows


def _row(value: Any) -> dict[str, Any]:
    """The row, whose fields are of their kinds.

    Raises:
        ValueError: one is not.
    """
    row: dict[str, Any] = value if isinstance(value, dict) else {}
    if row.get("question") is None:
        raise ValueError("no question")
    wrong = [name for name in ("question", "slice") if not isinstance(row.get(name), str | None)]
    answer = row.get("answer")
    texts = [_text(one) for one in (answer if isinstance(answer, list) else [answer or ""])]
    if None in texts:
        wrong.append("answer")
    if wrong:
        raise ValueError(f"{', '.join(wrong)} must be text")
    if not row["question"].strip():
        raise ValueError("no question")
    if not isinstance(row.get("relevant"), list | None):
        raise ValueError("relevant must be a list")
    return row if answer is None else row | {"answer": texts if isinstance(answer, list) else texts[0]}


def _text(answer: Any) -> str | None:
    """An answer as text, also one that was written as a number; None where it is neither."""
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return str(answer)
    return answer if isinstance(answer, str) else None


def _measure(platform: Platform, row: dict[str, Any], k: int, workspace: str | None) -> dict[str, float | None]:
    """One question; None where the row has nothing to measure against."""
    out: dict[str, float | None] = {}
    relevant: list[dict[str, Any]] = row["relevant"]
    if relevant and not row.get("unanswerable"):
        spans = any("start" in item for item in relevant)
        hits = platform.search(row["question"], k if spans else 3 * k, workspace=workspace, user="")["hits"]
        gains = _gains(hits, relevant)[:k]
        out["ndcg"] = ndcg_at_k(gains, len(relevant), k)
        out["recall"] = recall_at_k(gains, len(relevant), k)
        out["mrr"] = mrr_at_k(gains, len(relevant), k)
    shown = platform.ask(row["question"], workspace=workspace, user="")  # nobody's wishes, nobody's history
    refused = bool(shown["abstained"])
    should_refuse = bool(row.get("unanswerable"))
    out["refused"], out["should_refuse"] = float(refused), float(should_refuse)
    if row.get("answer") is not None and not should_refuse:
        golds = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        said = normalise(shown["answer"]) if not refused else ""
        out["contains"] = float(any(normalise(str(gold)) in said for gold in golds))
    if relevant and not should_refuse:
        cited = _gains([_as_hit(c) for c in shown["citations"]], relevant, per_document=False)
        out["cited"], out["cited_right"] = float(len(cited)), float(sum(g > 0 for g in cited))
        right = {i for c in shown["citations"] for i, item in enumerate(relevant) if _matches(_as_hit(c), item)}
        out["relevant_cited"] = len(right) / len(relevant)
    return out


def _summary(rows: Sequence[dict[str, float | None]], k: int) -> dict[str, Any]:
    def mean(name: str) -> float | None:
        values = [v for row in rows if (v := row.get(name)) is not None]
        return round(sum(values) / len(values), 4) if values else None

    def share(of: Callable[[dict[str, Any]], bool], good: Callable[[dict[str, Any]], bool]) -> float | None:
        among = [row for row in rows if of(row)]
        return round(sum(good(row) for row in among) / len(among), 4) if among else None

    cited = sum(row.get("cited") or 0.0 for row in rows)
    right = sum(row.get("cited_right") or 0.0 for row in rows)
    judged = any(row["should_refuse"] for row in rows)
    return {
        "n": len(rows),
        f"ndcg@{k}": mean("ndcg"),
        f"recall@{k}": mean("recall"),
        f"mrr@{k}": mean("mrr"),
        "answer_contains": mean("contains"),
        "citation_precision": round(right / cited, 4) if cited else None,
        "citation_recall": mean("relevant_cited"),
        "refusal_precision": share(lambda r: r["refused"] == 1, lambda r: r["should_refuse"] == 1) if judged else None,
        "refusal_recall": share(lambda r: r["should_refuse"] == 1, lambda r: r["refused"] == 1) if judged else None,
    }


def resolve(library: Library, item: Any, workspace: str | None) -> dict[str, Any]:
    """An item of `relevant` with the id of its document.

    Raises:
        ValueError: it names none.
    """
    if not isinstance(item, dict) or not item.get("document"):
        raise ValueError("a relevant item names no document")
    if not isinstance(item["document"], str):
        raise ValueError(f"the document of a relevant item is {item['document']!r}, and must be text")
    found: dict[str, Any] = {"document": library.find(item["document"], workspace).id}
    if item.get("start") is not None and item.get("end") is not None:
        found |= {"start": _whole(item["start"]), "end": _whole(item["end"])}
        if found["start"] >= found["end"]:
            raise ValueError(f"nothing stands from {found['start']} to {found['end']}")
    return found


def _whole(number: Any) -> int:
    """A character of a text, also one that was written 5.0."""
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < 2**53 or number % 1:
        raise ValueError(f"{number!r} is no place in a text: start and end are whole numbers")
    return int(number)


def _gains(
    hits: Sequence[dict[str, Any]], relevant: Sequence[dict[str, Any]], *, per_document: bool = True
) -> list[float]:
    """1 for each hit that matches the first unmatched relevant item. Items without a span collapse hits by document."""
    whole = {item["document"] for item in relevant if "start" not in item}
    unmatched = list(relevant)
    seen: set[str] = set()
    gains = []
    for hit in hits:
        if per_document and whole:
            if hit["document"] in seen:
                continue
            seen.add(hit["document"])
        match = next((item for item in unmatched if _matches(hit, item)), None)
        if match is not None and per_document:
            unmatched.remove(match)
        gains.append(1.0 if match is not None else 0.0)
    return gains


def _matches(hit: dict[str, Any], item: dict[str, Any]) -> bool:
    """Same document, and spans that share at least half of the shorter one."""
    if hit["document"] != item["document"]:
        return False
    if "start" not in item:
        return True
    shared = min(hit["end"], item["end"]) - max(hit["start"], item["start"])
    return bool(2 * shared >= min(hit["end"] - hit["start"], item["end"] - item["start"]) and shared > 0)


def _as_hit(citation: dict[str, Any]) -> dict[str, Any]:
    return {name: citation[name] for name in ("document", "start", "end")}


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016)."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(_ARTICLES.sub(" ", text).split())
