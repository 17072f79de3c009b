"""On the project's own guide a follow-up finds its page when it was understood, and mostly not as it was typed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernel.types import Exchange
from retrieval.followup import standalone
from retrieval.search import Scope
from tests.doors import memory_folder
from tests.house import House, incoming
from ui.wiring import guide_folder

DIALOGUES = (
    ("How do I delete a document?", "Can it be undone?", "deleting-documents.md"),
    ("What does a refusal mean?", "What can I do about it?", "refusals.md"),
    ("How do I schedule a retrain?", "Can I pause that?", "schedules.md"),
    ("What is a rehearsal policy?", "Which one is the default?", "rehearsal-policies.md"),
    ("How do I restore a backup?", "Does it overwrite anything?", "backup-and-restore.md"),
    ("How are adapters promoted?", "How do I undo it?", "adapters-and-rollback.md"),
    ("How do I watch a folder?", "How often does it look?", "watching.md"),
    ("How do I watch a folder?", "What about a sitemap?", "watching.md"),
    ("What is an epoch?", "How is it different from a version?", "versions-and-time.md"),
    ("How do I compare two versions of a document?", "And bring an old one back?", "comparing-and-restoring.md"),
    ("How do I import examples?", "What is the format?", "examples.md"),
    ("What does the gate examine?", "What happens when it refuses?", "the-gate.md"),
    ("How do I measure quality with a suite?", "What does a row look like?", "measuring-quality.md"),
    ("How do I correct an answer?", "When does that take effect?", "feedback-and-corrections.md"),
    ("Which file formats can I upload?", "Is there a limit?", "uploading-documents.md"),
    ("How does publishing work?", "What if that crashes?", "how-publishing-works.md"),
    ("How do I start a retrain?", "How long does it take?", "retraining.md"),
    ("What happens to a job when the node crashes?", "Can I cancel one?", "jobs-and-recovery.md"),
    ("What does a citation contain?", "And a page number?", "citations.md"),
    ("How does the search merge its two arms?", "Why?", "search-and-fusion.md"),
    ("How many old examples are rehearsed?", "Who chooses them?", "rehearsal.md"),
    ("Which settings are there for the API key?", "And for the port?", "settings.md"),
)
TOP = 5


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with memory_folder(tmp_path_factory.mktemp("guide")) as folder, House(folder / "home") as house:
        pages = sorted(guide_folder().glob("*.md"))
        house.ingest.add([incoming(page.name, page.read_bytes()) for page in pages])
        yield house


def found(house: House, question: str, page: str) -> bool:
    return page in {p.name for p in house.search.search(question, TOP, Scope(workspace="default")).passages}


def test_an_understood_followup_finds_its_page_far_more_often(house: House) -> None:
    asked, understood, lost = 0, 0, []
    for before, followup, page in DIALOGUES:
        meant = standalone(followup, (Exchange(question=before, answer=""),))
        plainly, so = found(house, followup, page), found(house, meant.question, page)
        asked, understood = asked + plainly, understood + so
        lost += [meant.question] if plainly and not so else []
    assert understood >= asked + len(DIALOGUES) // 4, (asked, understood)
    assert understood >= 0.75 * len(DIALOGUES)
    assert len(lost) <= 1, lost  # an embedder that only counts words finds some pages by chance


def test_a_question_of_the_guide_that_stands_alone_is_searched_as_it_was_typed(house: House) -> None:
    before = [Exchange(question=question, answer="") for question, _, _ in DIALOGUES]
    for question, _, _ in DIALOGUES:
        for earlier in before:
            assert not standalone(question, (earlier,)).changed, (question, earlier.question)
