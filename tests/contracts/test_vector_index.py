"""What every engine of the `VectorIndex` port promises, asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from kernel.errors import Failed
from kernel.ids import derived
from kernel.index.edge import EdgeIndex
from kernel.index.schema import DENSE, SPARSE, keyword, number, sparse_query, visible
from kernel.index.server import ServerIndex
from kernel.ports import VectorIndex
from kernel.types import OPEN, When
from tests.house import DIMENSION, point, visible_points

ENGINES: dict[str, Callable[[Path], VectorIndex]] = {
    "edge": lambda folder: EdgeIndex(folder / "index", DIMENSION),
    "server": lambda _folder: ServerIndex(QdrantClient(":memory:"), "reprise", DIMENSION),
}


@pytest.fixture(params=sorted(ENGINES))
def index(request: pytest.FixtureRequest, quick_folder: Path) -> Iterator[VectorIndex]:
    opened = ENGINES[request.param](quick_folder)
    yield opened
    opened.close()


def ids(*names: str) -> list[str]:
    return [derived("made-up", name) for name in names]


def dense_of(made: models.PointStruct) -> list[float]:
    return made.vector[DENSE]  # type: ignore[index, call-overload, return-value]


def found(index: VectorIndex, *must: models.Condition, must_not: list[models.Condition] | None = None) -> set[str]:
    return {str(p.id) for p in index.scroll(models.Filter(must=list(must), must_not=must_not))}


# --- writes -------------------------------------------------------------------------------------------


def test_an_insert_leaves_a_point_whose_id_exists_exactly_as_it_is(index: VectorIndex) -> None:
    first, second = point("a", doc="first"), point("a", seed=1, doc="second")
    index.insert([first])
    index.insert([second, point("b")])
    kept = index.retrieve(ids("a"), with_vectors=True)[0]
    assert kept.payload["doc"] == "first"
    assert np.allclose(kept.vector[DENSE], dense_of(first), atol=1e-5)
    assert index.count() == 2


def test_an_insert_of_nothing_changes_nothing(index: VectorIndex) -> None:
    index.insert([])
    index.set_payload({"born": 1}, [])
    index.delete([])
    assert index.count() == 0
    assert list(index.scroll(None)) == []
    assert index.retrieve(ids("nobody")) == []


def test_set_payload_merges_is_repeatable_and_passes_over_missing_ids(index: VectorIndex) -> None:
    index.insert([point("a", doc="x"), point("b", doc="x")])
    for _ in range(2):
        index.set_payload({"born": 7}, [*ids("a"), *ids("gone")])
    payloads = {str(p.id): p.payload for p in index.scroll(None)}
    assert payloads[ids("a")[0]]["born"] == 7
    assert payloads[ids("a")[0]]["doc"] == "x"
    assert payloads[ids("b")[0]]["born"] == OPEN
    assert index.count() == 2


def test_deleting_missing_ids_does_no_harm(index: VectorIndex) -> None:
    index.insert([point("a"), point("b")])
    index.delete(ids("a", "gone"))
    index.delete(ids("a"))
    assert found(index) == set(ids("b"))


def test_a_deleted_id_can_be_inserted_again(index: VectorIndex) -> None:
    index.insert([point("a", doc="first")])
    index.delete(ids("a"))
    index.insert([point("a", doc="second")])
    assert index.retrieve(ids("a"))[0].payload["doc"] == "second"


def test_more_points_than_one_batch_are_all_written(index: VectorIndex) -> None:
    names = [f"p{i}" for i in range(1300)]
    index.insert([point(name) for name in names])
    index.set_payload({"born": 3}, ids(*names))
    assert index.count(models.Filter(must=[number("born", lte=3)])) == 1300
    index.delete(ids(*names[:1100]))
    assert index.count() == 200


def test_eight_writing_threads_lose_nothing(index: VectorIndex) -> None:
    def work(worker: int) -> None:
        mine = [f"{worker}-{i}" for i in range(30)]
        for name in mine:
            index.insert([point(name, doc=str(worker))])
        index.set_payload({"born": worker}, ids(*mine))
        index.delete(ids(*mine[:10]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert index.count() == 8 * 20
    for worker in range(8):
        own = models.Filter(must=[keyword("doc", str(worker)), number("born", gte=worker, lte=worker)])
        assert index.count(own) == 20


# --- filters ------------------------------------------------------------------------------------------


def test_keywords_match_one_value_or_any_of_several(index: VectorIndex) -> None:
    index.insert([point("a", doc="x"), point("b", doc="y"), point("c", doc="z")])
    assert found(index, keyword("doc", "x")) == set(ids("a"))
    assert found(index, keyword("doc", "x", "z")) == set(ids("a", "c"))
    nothing = models.FieldCondition(key="doc", match=models.MatchAny(any=[]))
    assert found(index, nothing) == set()
    others = models.FieldCondition(key="doc", match=models.MatchExcept(**{"except": ["x"]}))
    assert found(index, others) == set(ids("b", "c"))


def test_integers_match_by_value(index: VectorIndex) -> None:
    index.insert([point("a", pinned=1), point("b", pinned=0)])
    pinned = models.FieldCondition(key="pinned", match=models.MatchValue(value=1))
    assert found(index, pinned) == set(ids("a"))


def test_no_ids_are_no_points_and_never_all(index: VectorIndex) -> None:
    index.insert([point("a"), point("b")])
    assert found(index, models.HasIdCondition(has_id=[])) == set()
    assert found(index, models.HasIdCondition(has_id=ids("b", "gone"))) == set(ids("b"))


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 + 1, 2**53 - 1, 2**53])
def test_ranges_are_exact_up_to_the_open_end(index: VectorIndex, value: int) -> None:
    index.insert([point("low", born=value - 1), point("at", born=value), point("high", born=min(value + 1, OPEN))])
    at_most = found(index, number("born", lte=value))
    assert ids("at")[0] in at_most
    assert (ids("high")[0] in at_most) == (min(value + 1, OPEN) <= value)
    assert found(index, number("born", lt=value)) == set(ids("low"))
    assert ids("low")[0] not in found(index, number("born", gte=value))


def test_nested_exclusion_is_a_conjunction(index: VectorIndex) -> None:
    index.insert(
        [
            point("both", died=1, until=1),
            point("died", died=1, until=OPEN),
            point("until", died=OPEN, until=1),
            point("neither"),
        ]
    )
    nested = models.Filter(must=[number("died", lte=5), number("until", lte=5)])
    assert found(index, must_not=[nested]) == set(ids("died", "until", "neither"))
    either = models.Filter(should=[number("died", lte=5), number("until", lte=5)])
    assert found(index, either) == set(ids("both", "died", "until"))


def test_the_visibility_rule_means_the_same_to_the_engine_as_in_the_design(index: VectorIndex) -> None:
    ends = [(0, 0), (2, 20), (2, OPEN), (3, 0), (OPEN, 20), (OPEN, OPEN)]
    rows = {
        f"{born}-{starts}-{died}-{until}": {"born": born, "from": starts, "died": died, "until": until}
        for born in (1, 3, OPEN)
        for starts in (0, 10)
        for died, until in ends
    }
    index.insert([point(name, **row) for name, row in rows.items()])
    for epoch in range(5):
        for at in (0, 9, 10, 19, 20, 21):
            expected = {
                derived("made-up", name)
                for name, r in rows.items()
                if r["born"] <= epoch and r["from"] <= at and not (r["died"] <= epoch and r["until"] <= at)
            }
            assert visible_points(index, When(epoch=epoch, at=at)) == expected


# --- reads --------------------------------------------------------------------------------------------


def test_scroll_pages_through_everything_once_in_order_of_id(index: VectorIndex) -> None:
    index.insert([point(f"p{i}", doc=str(i % 2)) for i in range(25)])
    records = list(index.scroll(None, page_size=4))
    assert [str(r.id) for r in records] == sorted(str(r.id) for r in records)
    assert len({r.id for r in records}) == 25
    assert all(r.payload["kind"] == "chunk" and r.vector is None for r in records)
    odd = list(index.scroll(models.Filter(must=[keyword("doc", "1")]), with_vectors=True, page_size=5))
    assert len(odd) == 12
    assert all(len(r.vector[DENSE]) == DIMENSION for r in odd)


def test_retrieve_returns_those_that_exist_with_vectors_when_asked(index: VectorIndex) -> None:
    made = [point("a"), point("b")]
    index.insert(made)
    records = index.retrieve(ids("b", "gone", "a"), with_vectors=True)
    by_id = {str(r.id): r.vector[DENSE] for r in records}
    assert set(by_id) == set(ids("a", "b"))
    for p in made:
        assert np.allclose(by_id[str(p.id)], dense_of(p), atol=1e-5)
    assert index.retrieve(ids("a"))[0].vector is None


def test_a_dense_query_ranks_by_cosine_and_keeps_the_order_of_a_batch(index: VectorIndex) -> None:
    made = [point(f"p{i}") for i in range(12)]
    index.insert(made)
    requests = [models.QueryRequest(query=dense_of(p), using=DENSE, limit=5, with_payload=True) for p in made[:4]]
    answers = index.query(requests)
    for asked, answer in zip(made, answers, strict=False):
        assert str(answer[0].id) == asked.id
        assert answer[0].score == pytest.approx(1.0, abs=1e-4)
        assert answer[0].payload["doc"] == "d"
        assert all(a.score >= b.score for a, b in pairwise(answer))
        cosines = sorted((float(np.dot(dense_of(asked), dense_of(p))) for p in made), reverse=True)
        assert [p.score for p in answer] == pytest.approx(cosines[:5], abs=1e-4)


def test_a_query_obeys_its_filter_limit_offset_and_threshold(index: VectorIndex) -> None:
    made = [point(f"p{i}", doc="even" if i % 2 == 0 else "odd") for i in range(10)]
    index.insert(made)
    asked = dense_of(made[0])
    some = models.Filter(must=[keyword("doc", "even")])
    plain, offset, exact, none = index.query(
        [
            models.QueryRequest(query=asked, using=DENSE, filter=some, limit=4),
            models.QueryRequest(query=asked, using=DENSE, filter=some, limit=4, offset=1),
            models.QueryRequest(query=asked, using=DENSE, limit=9, score_threshold=0.99),
            models.QueryRequest(query=asked, using=DENSE, filter=models.Filter(must=[keyword("doc", "no")]), limit=4),
        ]
    )
    even = {str(p.id) for p in made[::2]}
    assert len(plain) == 4
    assert {str(p.id) for p in plain} <= even
    assert [p.id for p in offset][:3] == [p.id for p in plain][1:]
    assert [str(p.id) for p in exact] == [made[0].id]
    assert none == []


def test_a_query_returns_the_dense_vector_when_asked(index: VectorIndex) -> None:
    made = point("a")
    index.insert([made])
    (answer,) = index.query([models.QueryRequest(query=dense_of(made), using=DENSE, limit=1, with_vector=True)])
    assert np.allclose(answer[0].vector[DENSE], dense_of(made), atol=1e-5)


def hybrid(words: str, dense: list[float], seen: models.Filter, corpus: models.Filter | None) -> models.QueryRequest:
    idf = models.IdfCorpusParams(corpus=corpus) if corpus else None
    sparse = models.Prefetch(
        query=sparse_query(words), using=SPARSE, limit=20, filter=seen, params=models.SearchParams(idf=idf)
    )
    near = models.Prefetch(query=dense, using=DENSE, limit=20, filter=seen)
    fusion = models.FusionQuery(fusion=models.Fusion.DBSF)
    return models.QueryRequest(prefetch=[near, sparse], query=fusion, limit=10)


def test_a_hybrid_query_fuses_both_arms_and_each_obeys_its_filter(index: VectorIndex) -> None:
    texts = {"zebra": "zebra stripes", "lion": "lion mane", "tax": "tax form for travel"}
    made = {name: point(name, text=text, born=1) for name, text in texts.items()}
    hidden = point("hidden", text="zebra zebra zebra", born=9)
    index.insert([*made.values(), hidden])
    seen = visible(When(epoch=5, at=100))
    dense = dense_of(made["zebra"])
    (answer,) = index.query([hybrid("zebra", dense, seen, seen)])
    assert str(answer[0].id) == made["zebra"].id  # first in both arms
    assert str(hidden.id) not in {str(p.id) for p in answer}
    (by_words,) = index.query([hybrid("lion", dense, seen, seen)])
    assert {str(p.id) for p in by_words[:2]} == {str(made["lion"].id), str(made["zebra"].id)}


def test_idf_is_taken_over_the_corpus_that_the_filter_names(index: VectorIndex) -> None:
    """Common among superseded points, rare among visible ones: the rare word must weigh more."""
    old = [point(f"old{i}", text="ledger audit", born=1, died=2, until=0) for i in range(8)]
    new = [point(f"new{i}", text="budget plan", born=3) for i in range(8)]
    rare, common = point("rare", text="ledger", born=3), point("common", text="budget", born=3)
    index.insert([*old, *new, rare, common])
    seen = visible(When(epoch=5, at=100))
    sparse = models.QueryRequest(
        query=sparse_query("ledger budget"),
        using=SPARSE,
        filter=seen,
        limit=3,
        params=models.SearchParams(idf=models.IdfCorpusParams(corpus=seen)),
    )
    (answer,) = index.query([sparse])
    assert str(answer[0].id) == rare.id
    assert answer[0].score > 2 * next(p.score for p in answer if str(p.id) != rare.id)


def test_a_random_sample_obeys_its_filter_and_draws_no_point_twice(index: VectorIndex) -> None:
    index.insert([point(f"p{i}", slice="a" if i < 10 else "b") for i in range(20)])
    some = models.Filter(must=[keyword("slice", "a")])
    sample = models.SampleQuery(sample=models.Sample.RANDOM)
    (drawn,) = index.query([models.QueryRequest(query=sample, filter=some, limit=7, with_payload=True)])
    assert len({p.id for p in drawn}) == len(drawn) == 7
    assert {p.payload["slice"] for p in drawn} == {"a"}
    (all_of_them,) = index.query([models.QueryRequest(query=sample, filter=some, limit=50)])
    assert len(all_of_them) == 10


def test_mmr_leaves_out_near_duplicates(index: VectorIndex) -> None:
    def towards(name: str, *weights: float) -> models.PointStruct:
        made = point(name)
        vector = np.zeros(DIMENSION)
        vector[: len(weights)] = weights
        made.vector = {**made.vector, DENSE: (vector / np.linalg.norm(vector)).tolist()}  # type: ignore[dict-item]
        return made

    index.insert([towards("best", 1, 0.1), towards("twin", 1, 0.11), towards("other", 0.7, -0.7)])
    query = [1.0] + [0.0] * (DIMENSION - 1)

    def ask(diversity: float) -> list[str]:
        mmr = models.NearestQuery(nearest=query, mmr=models.Mmr(diversity=diversity, candidates_limit=10))
        return [str(p.id) for p in index.query([models.QueryRequest(query=mmr, using=DENSE, limit=2)])[0]]

    assert ask(0.0) == ids("best", "twin")
    assert ask(0.9) == ids("best", "other")


def test_reciprocal_rank_fusion_is_understood(index: VectorIndex) -> None:
    made = [point(f"p{i}", text=f"word{i}") for i in range(5)]
    index.insert(made)
    arms = [
        models.Prefetch(query=dense_of(made[1]), using=DENSE, limit=5),
        models.Prefetch(query=sparse_query("word1"), using=SPARSE, limit=5),
    ]
    request = models.QueryRequest(prefetch=arms, query=models.RrfQuery(rrf=models.Rrf(k=2)), limit=3)
    assert str(index.query([request])[0][0].id) == made[1].id


# --- what only one engine can promise -----------------------------------------------------------------

STRANGE: list[models.Condition] = [
    models.IsEmptyCondition(is_empty=models.PayloadField(key="doc")),
    models.IsNullCondition(is_null=models.PayloadField(key="doc")),
    models.FieldCondition(key="doc", match=models.MatchText(text="x")),
    models.FieldCondition(key="born", values_count=models.ValuesCount(gte=1)),
    models.FieldCondition(key="born", is_empty=True),
    models.FieldCondition(key="born", match=models.MatchValue(value=True)),
    models.FieldCondition(key="born", range=models.DatetimeRange(gte="2026-01-01T00:00:00Z")),
    models.FieldCondition(key="born"),
    models.Filter(min_should=models.MinShould(conditions=[keyword("doc", "x")], min_count=1)),
    models.Filter(must=[models.Filter(must_not=[models.HasVectorCondition(has_vector="dense")])]),
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda c: next(iter(c.model_fields_set - {"key"}), "bare"))
def test_edge_refuses_what_it_cannot_express_and_never_widens(strange: models.Condition, quick_folder: Path) -> None:
    index = ENGINES["edge"](quick_folder)
    index.insert([point("a")])
    for place in ("must", "should", "must_not"):
        with pytest.raises(NotImplementedError):
            index.count(models.Filter(**{place: [strange]}))
    index.close()


def test_edge_refuses_a_query_it_cannot_express(quick_folder: Path) -> None:
    index = ENGINES["edge"](quick_folder)
    order = models.OrderByQuery(order_by="born")
    with pytest.raises(NotImplementedError, match="OrderByQuery"):
        index.query([models.QueryRequest(query=order, limit=1)])
    index.close()


def test_edge_keeps_everything_over_close_and_open(quick_folder: Path) -> None:
    index = ENGINES["edge"](quick_folder)
    made = [point(f"p{i}") for i in range(20)]
    index.insert(made)
    index.set_payload({"born": 4}, ids("p0", "p1"))
    index.delete(ids("p2"))
    index.close()
    again = ENGINES["edge"](quick_folder)
    assert again.count() == 19
    assert found(again, number("born", lte=4)) == set(ids("p0", "p1"))
    assert str(again.query([models.QueryRequest(query=dense_of(made[5]), using=DENSE, limit=1)])[0][0].id) == made[5].id
    again.maintain()
    assert again.count() == 19
    again.close()


def test_edge_opens_in_one_place_only_and_says_so(quick_folder: Path) -> None:
    index = ENGINES["edge"](quick_folder)
    with pytest.raises(Failed, match="cannot be opened") as refusal:
        ENGINES["edge"](quick_folder)
    assert refusal.value.code == "index_unavailable"
    assert "another process" in refusal.value.hint
    index.close()
