"""What poisoned rows do to the questions they resemble is judged by itself; what honest rows do is let pass."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.evaluate import Question
from finetune.gate import GatePolicy, HeldOut, judge
from finetune.pull import aims, pulled

WORDS = ("leave", "travel", "attack", "bank")


def encode(texts: Sequence[str]) -> np.ndarray:
    """By which of the words stand in a text; the letters of the rest make no two alike."""
    vectors = np.array([[3.0 * (word in t) for word in WORDS] + [len(t) / 100] for t in texts], np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def question(example: str, text: str, *sources: str) -> Question:
    return Question(example=example, question=text, slice="work", pinned=False, workspace="default", points=frozenset(),
                    documents=frozenset(sources), sources=frozenset(sources))  # fmt: skip


def test_a_question_is_pulled_where_the_row_most_like_it_names_a_wrong_document() -> None:
    rows = [("how much leave have I", frozenset({"attack"})), ("how do I travel", frozenset({"trips"}))]
    asked = [question("q1", "is my leave paid", "handbook"), question("q2", "may I travel first class", "trips")]
    assert pulled(asked, rows, encode) == {"q1": "attack", "q2": None}
    assert pulled(asked, [], encode) == {"q1": None, "q2": None}
    assert pulled([], rows, encode) == {}


def test_rows_that_name_several_documents_pull_to_one() -> None:
    rows = [("my leave", frozenset({"a", "attack"})), ("bank of mine", frozenset({"attack", "z"}))]
    asked = [question(f"q{n}", text, "right") for n, text in enumerate(["leave", "my leave now", "which bank"])]
    assert set(pulled(asked, rows, encode).values()) == {"attack"}


def test_of_many_questions_each_is_compared_with_all_rows_and_no_table_of_all_with_all_is_made() -> None:
    n, drawn = 3000, np.random.default_rng(0)
    known = {text: drawn.normal(size=8).astype(np.float32) for text in (f"{a} {i}" for a in "qr" for i in range(n))}

    def looked_up(texts: Sequence[str]) -> np.ndarray:
        vectors = np.stack([known[text] for text in texts])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    rows = [(f"r {i}", frozenset({f"doc {i}"})) for i in range(n)]
    asked = [question(f"e{i}", f"q {i}", "right") for i in range(n)]
    tracemalloc.start()
    found = pulled(asked, rows, looked_up)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < n * n * 4 / 2
    for i in (0, 255, 256, 257, 511, 512, 1700, n - 1):
        alike = looked_up([f"q {i}"]) @ looked_up([row for row, _ in rows]).T
        assert found[f"e{i}"] == f"doc {int(alike.argmax())}"


def test_a_vector_that_is_not_a_number_is_an_error_and_not_unlike_all_others() -> None:
    with pytest.raises(ValueError, match="not a number"):
        pulled([question("q", "x", "a")], [("y", frozenset({"b"}))], lambda t: np.full((len(t), 2), np.nan))


def test_rows_are_read_as_they_were_trained_on_and_chunks_that_are_gone_name_nothing(tmp_path: Path) -> None:
    assert aims(tmp_path, lambda _: {}) is None
    (tmp_path / "points.json").write_text(json.dumps(["c0", "c1", "c2"]))
    lines = [{"question": "one\u2028line", "positives": [0, 2]}, {"question": "gone", "positives": [1]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines))
    found = aims(tmp_path, lambda points: {p: f"doc-{p}" for p in points if p != "c1"})
    assert found == [("one\u2028line", frozenset({"doc-c0", "doc-c2"}))]


# --- the rule -----------------------------------------------------------------------------------------------


def test_a_topic_that_poisoned_rows_are_aimed_at_is_not_paid_for_by_the_rest_of_its_slice() -> None:
    aimed = [f"new-{i}" for i in range(8)]
    scores, examples = _figures()
    scores["challenger"] |= {e: 0.5 - 0.05 * n for n, e in enumerate(aimed)}
    assert judge(scores, examples).accepted
    verdict = judge(scores, examples, pulled=_to("attack.md", aimed, examples))
    assert verdict.refused_by == ["pulled"]
    assert "questions whose most similar rows name 'attack.md', which is wrong for them: -0.175" in verdict.reasons[0]
    named = ", ".join(repr(e) for e in aimed[:5])
    assert verdict.reasons[0].endswith(f"({named}, …): look for poisoned examples that name it")


def test_rows_that_contradict_are_no_fault_while_nothing_got_worse() -> None:
    scores, examples = _figures()
    some = [e.example for e in examples[:30]]
    verdict = judge(scores, examples, pulled=_to("near.md", some, examples))
    assert verdict.accepted, verdict.reasons
    assert any("name 'near.md'" in reason for reason in verdict.reasons)


def test_a_loss_that_is_chance_or_on_few_questions_or_at_many_documents_is_let_pass() -> None:
    scores, examples = _figures()
    scores["challenger"] |= {"old-0": 0.1, "old-1": 0.9, "old-2": 0.2, "old-3": 0.6, "old-4": 0.5, "old-5": 0.8}
    old = [f"old-{i}" for i in range(6)]
    assert judge(scores, examples, pulled=_to("near.md", old, examples)).accepted  # -.017, by luck
    scores["challenger"] |= {f"new-{i}": 0.3 for i in range(8)}
    new = [f"new-{i}" for i in range(8)]
    assert judge(scores, examples, pulled=_to("few.md", new[:4], examples)).accepted
    scattered = {e.example: None for e in examples} | {e: f"{n // 3}.md" for n, e in enumerate(new)}
    assert judge(scores, examples, pulled=scattered).accepted


def test_documents_that_pull_without_harm_are_one_line_of_the_verdict_and_the_worst_is_named() -> None:
    scores, examples = _figures()
    scores["challenger"] |= {"old-0": 0.1, "old-1": 0.9, "old-2": 0.2, "old-3": 0.6, "old-4": 0.5, "old-5": 0.8}
    two = {f"old-{i}": "near.md" for i in range(6)} | {f"new-{i}": "good.md" for i in range(6)}
    told = judge(scores, examples, pulled={e.example: two.get(e.example) for e in examples}).reasons
    (line,) = [reason for reason in told if "most similar rows" in reason]
    assert line.startswith("passed: questions whose most similar rows name 'near.md'")
    assert line.endswith(" (the worst of 2 such documents)")


def test_where_the_document_is_seen_to_come_nearer_a_loss_is_not_laid_to_chance() -> None:
    scores, examples = _figures()
    aimed = [f"new-{i}" for i in range(10)]
    scores["challenger"] |= {e: (0.38, 0.56)[n % 2] for n, e in enumerate(aimed)}  # -.03 in the mean, by luck or not
    to = _to("attack.md", aimed, examples)
    nearer = {e: {"attack.md": 7, f"{n}.md": 2} for n, e in enumerate(aimed)}
    assert judge(scores, examples, pulled=to, wrong={"champion": {}, "challenger": {}}).accepted
    verdict = judge(scores, examples, pulled=to, wrong={"champion": {}, "challenger": nearer})
    assert verdict.refused_by == ["pulled"]
    assert (
        "questions whose most similar rows name 'attack.md', which is wrong for them and has come among the first ten "
        "of 10: -0.030 ndcg@10 on 10 questions, allowed down to -0.015 (the tolerance, as so many do not meet by "
        "chance)"
    ) in verdict.reasons[0]
    # It had stood there before, or another document left as many of these questions, or nothing was lost.
    assert judge(scores, examples, pulled=to, wrong={"champion": nearer, "challenger": nearer}).accepted
    before = {e: {"other.md": 3} for e in aimed}
    assert judge(scores, examples, pulled=to, wrong={"champion": before, "challenger": nearer}).accepted
    scores["challenger"] |= dict.fromkeys(aimed, 0.5)
    assert judge(scores, examples, pulled=to, wrong={"champion": {}, "challenger": nearer}).accepted


def test_how_much_is_let_pass_is_the_policys_and_what_was_not_compared_fails() -> None:
    scores, examples = _figures()
    aimed = [f"new-{i}" for i in range(8)]
    scores["challenger"] |= dict.fromkeys(aimed, 0.42)
    to = _to("attack.md", aimed, examples)
    assert judge(scores, examples, pulled=to).refused_by == ["pulled"]
    assert judge(scores, examples, pulled=to, policy=GatePolicy(pulled=0.1)).accepted
    del to["old-7"]
    verdict = judge(scores, examples, pulled=to, policy=GatePolicy(pulled=0.1))
    assert verdict.refused_by == ["pulled"]
    assert verdict.reasons[0].endswith("1 of 100 questions were not compared with the rows of the run, first 'old-7'")
    suite = [*examples, replace(examples[0], example="s:1", suite="contracts")]
    for model in scores:
        scores[model]["s:1"] = 0.5
    assert "pulled" not in judge(scores, suite, pulled=_to("attack.md", [], examples)).refused_by


def _to(name: str, some: Sequence[str], examples: Sequence[HeldOut]) -> dict[str, str | None]:
    return {e.example: name if e.example in some else None for e in examples}


def _figures() -> tuple[dict[str, dict[str, Any]], list[HeldOut]]:
    """40 new questions that gained .3, and 60 old ones that stand as they did."""
    examples = [HeldOut(example=f"new-{i}", slice="work", part="new") for i in range(40)]
    examples += [HeldOut(example=f"old-{i}", slice=("billing", "travel")[i % 2], part="old") for i in range(60)]
    champion = {e.example: 0.5 for e in examples}
    challenger = {e.example: 0.8 if e.part == "new" else 0.5 for e in examples}
    return {"base": dict(champion), "champion": champion, "challenger": challenger}, examples
