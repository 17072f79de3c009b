"""Search as a whole: what it shows, what it tells about that, and how a workspace's own examples tune it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from finetune.evaluate import Evaluator
from finetune.tune import ENOUGH, Tuner
from ingest.section import around
from kernel.errors import UserError
from kernel.ports import Reranker
from kernel.types import Passage
from retrieval.reranker import EmbeddedReranker, make_reranker
from retrieval.search import How, Scope, Search
from retrieval.tuning import DEFAULT, Tuning
from tests.house import House, page

ANIMALS = {name: f"The {name} lives in the {name} house of the zoo and eats at noon." for name in
           ("zebra", "lion", "walrus", "otter", "heron", "gecko")}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("explained"))
    for name, text in ANIMALS.items():
        house.put(
            f"{name}.md", page(name.title(), {"Where": text, "Care": f"A keeper brushes it, error E-10{len(name)}."})
        )
    return house


class Backwards:
    """A reranker that likes what comes last."""

    name = "backwards"
    share = 0.5
    by_default = False

    def looks(self, question: str) -> bool:
        return True

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        return [float(p.rank * 100) for p in passages]


def test_every_candidate_is_told_about_and_those_that_are_shown_come_first(house: House) -> None:
    found = house.search.search("where does the walrus live", 3, explain=True)
    assert [t.chunk for t in found.trace[:3]] == [p.chunk for p in found.passages]
    assert [t.rank for t in found.trace[:3]] == [1, 2, 3]
    assert {t.dropped for t in found.trace[3:]} == {"rank"}
    first = found.trace[0]
    assert first.words is not None
    assert first.words.rank == 1
    assert first.score == found.passages[0].score
    json.dumps([t.as_json() for t in found.trace])
    assert house.search.search("walrus", 3).trace == ()


def test_what_explains_a_search_does_not_change_it(house: House) -> None:
    plain, told = (house.search.search("walrus", 5, explain=explain).passages for explain in (False, True))
    assert plain == told


def test_a_set_of_documents_is_all_that_is_looked_in_and_an_empty_one_finds_nothing(house: House) -> None:
    ids = frozenset(house.library.find(f"{name}.md").id for name in ("zebra", "lion"))
    found = house.search.search("where does the walrus live", 10, Scope(documents=ids)).passages
    assert {p.document for p in found} == ids
    assert house.search.search("walrus", 10, Scope(documents=frozenset())).passages == ()


def test_an_identifier_is_found_in_any_spelling(house: House) -> None:
    (first, *_) = house.search.search("e106", 1, how=How(weight=1.0)).passages
    assert "E-106" in first.text


def test_a_reranker_looks_where_it_is_told_to_and_its_score_is_in_the_trace(house: House) -> None:
    search = Search(house.index, house.epochs, house.library, house.live, 100, house.tunings, reranker=Backwards())
    plain = search.search("walrus", 12)
    assert plain.reranker is None  # auto: nothing was measured
    closer = search.search("walrus", 12, how=How(rerank=True), explain=True)
    assert closer.reranker == "backwards"
    assert {p.chunk for p in closer.passages} == {p.chunk for p in plain.passages}
    assert max(t.rerank for t in closer.trace if t.rerank is not None) == len(closer.trace) * 100
    assert [p.score for p in closer.passages] == sorted((p.score for p in closer.passages), reverse=True)


def test_the_reranker_without_a_model_brings_the_year_up_and_else_changes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    for year in (2003, 2004, 2005, 2006):
        house.put(f"{year}.md", page("Ferry", {"Fare": f"The crossing cost {year - 1990} crowns in {year}."}))
    search = Search(house.index, house.epochs, house.library, house.live, 100, reranker=EmbeddedReranker(), rerank=True)
    for year in (2003, 2006):
        first, second, *_ = search.search(f"what did the crossing cost, {year}", 4).passages
        assert str(year) in first.text
        assert first.score > second.score
    plain = search.search("what did the crossing cost", 4, how=How(rerank=False))
    closer = search.search("what did the crossing cost", 4, explain=True)
    assert closer.passages == plain.passages
    assert closer.reranker is None
    assert {t.rerank for t in closer.trace} == {None}


def test_what_diversity_leaves_out_is_said_to_be_so(house: House) -> None:
    plain = house.search.search("the zoo house at noon", 6, explain=True)
    varied = house.search.search("the zoo house at noon", 6, how=How(diversity=0.9), explain=True)
    assert {p.chunk for p in varied.passages} != {p.chunk for p in plain.passages}
    assert "diversity" in {t.dropped for t in varied.trace}
    with pytest.raises(UserError, match="diversity"):
        house.search.search("zoo", 3, how=How(diversity=2))


def test_a_hit_can_be_shown_with_what_stands_around_it(house: House) -> None:
    passages = house.search.search("keeper brushes", 4).passages
    for how in ("section", "neighbours"):
        shown = around(house.db, house.library, passages, how)
        for p in passages:
            assert p.text in str(shown[p.chunk]["text"])
            assert int(shown[p.chunk]["start"]) <= p.start < p.end <= int(shown[p.chunk]["end"])
    neighbours = around(house.db, house.library, passages, "neighbours")
    assert any(len(str(neighbours[p.chunk]["text"])) > len(p.text) for p in passages)


# --- tuning -------------------------------------------------------------------------------------------


def tuner(house: House) -> Tuner:
    evaluator = Evaluator(house.db, house.search, house.live, house.epochs)
    return Tuner(house.db, house.index, house.search, house.live, house.epochs, evaluator, house.tunings)


def test_too_few_examples_change_nothing(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        shown = tuner(house).run("default")
        assert (shown["weight"], shown["adopted"]) == (DEFAULT.weight, False)
        assert str(ENOUGH) in shown["reason"]
        assert tuner(house).due() == []


def test_what_was_measured_with_one_reranker_says_nothing_of_another(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        texts = {n: f"Item K{n}X{n * 7} came to shelf {n % 9} in {1950 + n}." for n in range(2 * ENOUGH)}
        house.put("store.md", page("Store", {f"Sheet {n}": text for n, text in texts.items()}))
        rows = [{"question": f"k{n}x{n * 7}", "document": "store.md", "quote": text} for n, text in texts.items()]
        house.memory.import_rows("\n".join(map(json.dumps, rows)), "default")

        def reranked(search: Search) -> str | None:
            return search.search("what came in 1960?", 5, Scope(workspace="default")).reranker

        def with_(reranker: Reranker | None) -> Search:
            house.search.reranker = reranker
            return house.search

        assert tuner(house).run("default")["measured"]["rerank"] is None  # there was none
        assert tuner(house).due() == []
        assert reranked(with_(EmbeddedReranker())) == "embedded"  # by default, as long as nothing was measured
        assert tuner(house).due() == ["default"]
        assert tuner(house).run("default")["rerank"]  # these questions name no year: it does no harm
        assert tuner(house).due() == []
        assert reranked(house.search) == "embedded"
        assert reranked(with_(Backwards())) is None
        assert tuner(house).due() == ["default"]
        assert reranked(with_(None)) is None
        assert tuner(house).due() == []  # there is nothing to be measured


def test_a_workspace_that_one_arm_serves_badly_is_tuned_to_the_other_and_not_below_what_served(tmp_path: Path) -> None:
    """Here the vectors are of no use, and what served gave them nearly all the say."""
    with House(tmp_path) as house:
        texts = {
            n: f"Item K{n}X{n * 7} belongs to shelf {n % 9} and rests there beside others." for n in range(2 * ENOUGH)
        }
        house.put("store.md", page("Store", {f"Sheet {n}": text for n, text in texts.items()}))
        rows = [
            {"question": f"k{n}x{n * 7}", "document": "store.md", "quote": text, "answer": f"shelf {n % 9}"}
            for n, text in texts.items()
        ]
        house.memory.import_rows("\n".join(map(json.dumps, rows)), "default")
        with house.db.write() as session:
            house.tunings.set(session, "default", Tuning(weight=0.0))
        tune = tuner(house)
        assert tune.due() == ["default"]
        shown = tune.run("default")
        assert shown["adopted"]
        assert shown["weight"] > 0
        assert shown["measured"]["gain"] > 0
        assert house.tunings.of("default").weight == shown["weight"]
        assert tune.show("default")["measured"] == shown["measured"]
        assert tune.due() == []
        again = tune.run("default")
        assert not again["adopted"]
        assert again["weight"] == shown["weight"]


# --- a cross-encoder ------------------------------------------------------------------------------------


def test_a_reranker_that_is_none_is_said_to_be_none() -> None:
    assert make_reranker("off") is None
    with pytest.raises(UserError, match="no reranker"):
        make_reranker("magic")
    missing = make_reranker("cross-encoder:/nowhere/at/all")
    assert missing is not None
    with pytest.raises(UserError, match="cannot be loaded"):
        missing.rerank("q", [passage("a")])


def passage(text: str) -> Passage:
    return Passage(chunk=text, document="d", name="d", title="d", version=1, start=0, end=len(text), text=text)


def test_any_cross_encoder_folder_scores_each_passage_in_order(tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zebra", "lion", "lives", "where"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=1, **sizes)).save_pretrained(tmp_path)
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    reranker = make_reranker(f"cross-encoder:{tmp_path}")
    assert reranker is not None
    texts = ["zebra lives", "lion lives", "zebra"]
    scores = reranker.rerank("where zebra", [passage(t) for t in texts])
    assert len(scores) == 3
    assert len(set(scores)) == 3
    assert reranker.rerank("where zebra", [passage(texts[1])])[0] == pytest.approx(scores[1], abs=1e-5)
    assert reranker.rerank("where zebra", []) == []
