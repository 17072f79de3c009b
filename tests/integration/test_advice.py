"""Advice from what happened: documents that changed, questions that were asked, answers that were liked or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from finetune.advice import Facts, decide
from finetune.evaluate import Evaluator
from finetune.evidence import Evidence
from finetune.registry import Registry
from ingest.tables import Position
from kernel.errors import NotFound
from kernel.ids import fresh, now_ms
from rehearsal.examples import NewExample
from rehearsal.ground import Quote
from rehearsal.tables import Example, ExampleEvent
from retrieval.choosing import Choosing
from retrieval.lending import Lending
from retrieval.live import RETRIEVER
from retrieval.tables import Feedback, Turn
from tests.house import House, page

pytestmark = pytest.mark.integration
ANIMALS = ("otter", "heron", "badger", "lynx", "marten", "stork", "beaver", "hare", "falcon", "adder", "newt", "crane")
OTHERS = [f"{colour} {animal}" for colour in ("red", "grey", "old", "shy") for animal in ANIMALS]
WILD = page(
    "Wildlife",
    {a.title(): f"The {a} sleeps in its den near the {n}th bridge." for n, a in enumerate((*ANIMALS, *OTHERS))},
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("advice") / "home") as house:
        yield house


@pytest.fixture(scope="module")
def evidence(house: House) -> Evidence:
    evaluator = Evaluator(house.db, house.search, house.live, house.epochs)
    registry = Registry(house.db, Lending(Choosing(house.db), {RETRIEVER: house.live}), house.home)
    return Evidence(house.db, house.library, evaluator, registry, house.live, ("retriever",), 0.2)


@pytest.fixture(scope="module")
def wild(house: House) -> dict[str, Any]:
    """A stable document with examples: half of them in its words, half in words that it lacks."""
    row = house.put("wild.md", WILD)
    with house.db.read() as session:
        here = select(Position.point).where(Position.document == row["document"]).order_by(Position.ordinal)
        points = list(session.scalars(here))
    assert len(points) == len(ANIMALS) + len(OTHERS)
    new = [
        NewExample(workspace="default", question=question, slice=part, origin="import",
                   quotes=(Quote(document=row["document"], point=points[n], text=f"The {animal} sleeps"),))
        for n, animal in enumerate(ANIMALS)
        for question, part in ((f"Where has the {animal} its den?", "plain"), (f"Habitat {animal[::-1]}?", "odd"))
    ]  # fmt: skip
    house.examples.add(new)
    return row


def test_a_fact_counts_as_superseded_by_when_that_was_and_not_by_when_it_was_learnt(
    house: House, evidence: Evidence
) -> None:
    document = house.put("rules.md", page("Rules", {"Leave": "A badger has 30 days of leave."}))["document"]
    with house.db.read() as session:
        point = session.scalars(select(Position.point).where(Position.document == document)).first()
    quote = Quote(document=document, point=str(point), text="30 days of leave")
    house.examples.add([NewExample(workspace="default", question="How long is it off?", quotes=(quote,))])
    house.put("rules.md", page("Rules", {"Leave": "A badger has 14 days of leave."}))
    long_ago = now_ms() - 100 * 24 * 3600 * 1000
    with house.db.write() as session:
        session.execute(update(Example).where(Example.question == "How long is it off?").values(created=long_ago))
    assert of(evidence.gather("default"), "rules.md").superseded == 1
    with house.db.write() as session:
        ours = select(Example.id).where(Example.question == "How long is it off?").scalar_subquery()
        session.execute(update(ExampleEvent).where(ExampleEvent.example == ours).values(at=long_ago))
    assert of(evidence.gather("default"), "rules.md").superseded == 0
    house.delete.delete("rules.md")


def turn(house: House, document: str | None, *, abstained: bool = False, vote: str | None = None) -> None:
    name = fresh("turn")
    cited = [{"document": document, "chunk": "c", "quote": "q"}] if document else []
    shown = {"abstained": abstained, "support": 0.5, "answer": "a", "citations": cited, "closest": []}
    now = now_ms()
    with house.db.write() as session:
        session.add(Turn(id=name, workspace="default", question="q", shown=shown, epoch=1, asked_at=now, created=now))
        session.flush()
        if vote:
            session.add(Feedback(id=fresh("fb"), turn=name, vote=vote, created=now))


def of(found: list[Facts], name: str) -> Facts:
    return next(f for f in found if f.name == name)


def test_a_document_that_changes_often_belongs_to_the_index_alone(house: House, evidence: Evidence) -> None:
    for price in range(4):
        house.put("prices.md", page("Prices", {"Ticket": f"A ticket costs {price} crowns.", "Dog": "Dogs are free."}))
    (facts,) = evidence.gather("default", "prices.md")
    assert (facts.changes, facts.chunks) == (3, 2)
    assert facts.turnover > 1
    assert decide(facts).verdict == "index"
    assert "times a month" in decide(facts).reason


def test_what_is_there_and_is_not_found_belongs_to_the_retriever(
    house: House, evidence: Evidence, wild: dict[str, Any]
) -> None:
    found = evidence.gather("default")
    plain, odd = of(found, "plain"), of(found, "odd")
    assert plain.judged == odd.judged == len(ANIMALS)
    assert (plain.found, plain.judged_by) == (1.0, "examples")
    assert odd.found is not None
    assert odd.found < 0.8
    assert decide(odd).verdict == "retriever adapter"
    assert not decide(odd).ready  # a dozen examples are no training
    assert decide(plain).verdict == "neither"
    assert plain.train + plain.held_out == len(ANIMALS)
    assert of(found, "wild.md").judged == 2 * len(ANIMALS)


def test_what_is_shown_and_voted_down_belongs_to_the_generator(
    house: House, evidence: Evidence, wild: dict[str, Any]
) -> None:
    for n in range(10):
        turn(house, wild["document"], vote="down" if n < 5 else "up")
    facts = evidence.gather("default", slice_name="plain")[0]
    assert (facts.asked, facts.rated, facts.unhappy) == (10, 10, 5)
    advice = decide(facts)
    assert (advice.verdict, advice.ready) == ("generator adapter", False)


def test_a_document_without_examples_is_asked_by_its_own_headings(house: House, evidence: Evidence) -> None:
    house.put("rules.md", page("Rules", {"What is a bicycle lane?": "A bicycle lane is a strip for bicycles alone."}))
    (facts,) = evidence.gather("default", "rules.md")
    assert (facts.judged_by, facts.judged > 0, facts.found) == ("pseudo-questions", True, 1.0)
    assert decide(facts).verdict == "neither"


def test_what_nothing_answers_is_to_be_ingested(house: House, evidence: Evidence) -> None:
    before = evidence.gather("default")[0]
    assert (before.subject, before.unanswered) == ("workspace", 0)
    for _ in range(3):
        turn(house, None, abstained=True)
    whole = evidence.gather("default")[0]
    assert whole.unanswered == 3
    assert (decide(whole).verdict, "ingest" in decide(whole).reason) == ("index", True)


def test_advice_on_what_is_not_there_is_a_mistake(house: House, evidence: Evidence) -> None:
    with pytest.raises(NotFound):
        evidence.gather("default", "nowhere.md")
    assert evidence.gather("default", slice_name="nowhere") == []
