"""A person's own things: conversations that can be followed, seen and erased, and preferences that stay theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

import ui.wiring
from kernel import audit
from kernel.errors import NotFound, TryAgain, UserError
from kernel.ids import fresh
from kernel.types import Exchange, Wishes
from rehearsal.tables import Example, MixRow
from retrieval.tables import Cited, Conversation, Feedback, PreferenceRow, Turn
from retrieval.turns import REDACTED, Asker
from tests.doors import LIBRARY, Terminal, doors, memory_folder, opened
from tests.house import WordEmbedder, incoming
from ui.api.app import make_app
from ui.platform import Platform

RETURNS = "Within how many days can a parcel be sent back?"


@pytest.fixture(scope="module", autouse=True)
def _doors() -> Iterator[None]:
    with doors(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ui.wiring, "SentenceTransformerEmbedder", lambda *_given: WordEmbedder())
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("people")) as place:
        yield place / "home"


@pytest.fixture(scope="module")
def platform(home: Path) -> Iterator[Platform]:
    with opened(home, history_exchanges=3, history_chars=400) as platform:
        platform.ingest([incoming(name, text) for name, text in LIBRARY.items()])
        yield platform


@pytest.fixture(scope="module")
def http(platform: Platform) -> Iterator[TestClient]:
    with TestClient(make_app(platform), base_url="http://127.0.0.1") as client:
        yield client


_users = iter(range(1000))


@pytest.fixture
def user() -> str:
    """Somebody new."""
    return f"person {next(_users)}"


def talk(platform: Platform, user: str, *questions: str, **given: Any) -> list[dict[str, Any]]:
    """Ask one question after another in a new conversation."""
    conversation, answers = "new", []
    for question in questions:
        answers.append(platform.ask(question, conversation=conversation, user=user, **given))
        conversation = answers[-1]["conversation"]
    return answers


def rows(platform: Platform, table: Any, *where: Any) -> list[Any]:
    with platform.w.db.read() as session:
        return list(session.scalars(select(table).where(*where)))


def practised_as(platform: Platform, rows: list[str], run: str | None = None) -> Path:
    """The training rows of a run that practised examples, and turns as votes."""
    run = run or fresh("run")
    folder = platform.w.home / "runs" / run
    folder.mkdir(parents=True)
    lines = [json.dumps({"example": row, "question": "What was asked?"}) for row in rows]
    (folder / "train.jsonl").write_text("".join(f"{line}\n" for line in lines))
    with platform.w.db.write() as session:
        session.add_all(MixRow(run=run, example=row, part="new") for row in rows)
    return folder / "train.jsonl"


# --- conversations --------------------------------------------------------------------------------


def test_a_followup_is_understood_shown_as_such_and_answered(platform: Platform, user: str) -> None:
    first, second = talk(platform, user, "What does sending a parcel back cost?", "And from abroad?")
    assert not first["rewritten"]
    assert first["asked"] == first["question"]
    assert second["rewritten"]
    assert second["asked"] == "And from abroad?"
    assert second["question"] == "What does sending a parcel back cost from abroad?"
    assert "postage" in second["answer"]
    shown = platform.conversation(first["conversation"], user=user)
    assert [t["question"] for t in shown["turns"]] == ["What does sending a parcel back cost?", "And from abroad?"]
    assert [t["position"] for t in shown["turns"]] == [1, 2]
    assert shown["turns"][1]["standalone"] == second["question"]
    assert shown["title"] == "What does sending a parcel back cost?"


def test_a_stream_of_a_followup_says_first_how_it_was_understood(platform: Platform, user: str) -> None:
    conversation = talk(platform, user, "What does sending a parcel back cost?")[0]["conversation"]
    searched, *_, done = platform.ask_stream("And from abroad?", conversation=conversation, user=user)
    assert searched["rewritten"]
    assert searched["question"] == done["question"] == "What does sending a parcel back cost from abroad?"
    assert searched["conversation"] == conversation


def test_history_is_bounded_by_exchanges_and_by_characters(platform: Platform, user: str) -> None:
    told = talk(platform, user, RETURNS, "Is a gift refunded?", "When does the camp gate open?", "What hums in a pump?")
    conversation = told[0]["conversation"]
    history = platform.w.conversations.history(conversation)
    assert 1 <= len(history) <= 3
    assert history[-1].question == "What hums in a pump?"
    assert sum(len(e.question) + len(e.answer) for e in history) <= 400
    assert not any("[1]" in e.answer for e in history)
    long = platform.w.conversations.open(user, "default", "x")
    shown = told[0] | {"turn": f"turn-long-{user}", "answer": "word " * 500}
    platform.w.turns.keep("default", "Tell me all", shown, 0, Asker(user=user, conversation=long))
    kept = platform.w.conversations.history(long)
    assert kept == (Exchange(question="Tell me all", answer=("word " * 500)[: 400 - len("Tell me all")]),)


def test_a_conversation_of_somebody_else_is_not_there(platform: Platform, user: str) -> None:
    conversation = talk(platform, user, RETURNS)[0]["conversation"]
    for call in (
        lambda: platform.conversation(conversation, user="another"),
        lambda: platform.rename_conversation(conversation, "mine", user="another"),
        lambda: platform.delete_conversation(conversation, user="another"),
        lambda: platform.ask("And from abroad?", conversation=conversation, user="another"),
    ):
        with pytest.raises(NotFound, match="no conversation"):
            call()
    assert conversation not in {c["conversation"] for c in platform.conversations(user="another")}


def test_a_question_that_fails_leaves_no_empty_conversation(platform: Platform, user: str) -> None:
    with pytest.raises(NotFound):
        platform.ask(RETURNS, conversation="new", user=user, generator="nobody")
    for wrong in ({"filters": {"colour": ["red"]}}, {"scope": "sideways"}, {"adapter": "nobody"}, {"as_of": "soon"}):
        with pytest.raises(UserError):
            platform.ask(RETURNS, conversation="new", user=user, **wrong)  # type: ignore[arg-type]
    list(
        zip(range(1), platform.ask_stream(RETURNS, conversation="new", user=user), strict=False)
    )  # and nobody reads on
    assert platform.conversations(user=user) == []


def test_nobody_holds_no_conversation_that_nobody_could_delete(platform: Platform) -> None:
    with pytest.raises(UserError, match="nobody holds no conversations"):
        platform.ask(RETURNS, conversation="new", user="")


def test_history_that_a_client_sends_as_it_was_typed_is_understood_turn_by_turn(platform: Platform) -> None:
    typed = [
        {"question": "What does sending a parcel back cost?", "answer": "It is free within the country."},
        {"question": "And from abroad?", "answer": "From abroad the customer pays the postage."},
    ]
    shown = platform.ask("And to an island?", history=typed)
    assert {"parcel", "cost"} <= set(shown["question"].casefold().replace("?", "").split())


def test_half_of_a_character_is_a_mistake_that_is_told(platform: Platform) -> None:
    for door in (platform.ask, platform.search):
        with pytest.raises(UserError, match="half of a character"):
            door("What is \ud83d?")
    assert platform.ask("Within how many\x00days can a parcel be sent back?")["citations"]


def test_an_epoch_of_nought_is_an_epoch(platform: Platform) -> None:
    shown = platform.ask(RETURNS, epoch=0)
    assert (shown["epoch"], shown["abstained"]) == (0, True)


def test_a_deleted_conversation_leaves_no_word_but_the_examples_it_names(platform: Platform, user: str) -> None:
    first, second = talk(platform, user, RETURNS, "Is a gift refunded with a voucher?")
    made = platform.feedback(first["turn"], "up")
    receipt = platform.delete_conversation(first["conversation"], user=user)
    assert receipt["turns"] == 2
    assert receipt["feedback"] == 1
    assert receipt["examples_kept"] == [made["example"]]
    turns = [first["turn"], second["turn"]]
    for table, column in ((Turn, Turn.id), (Feedback, Feedback.turn), (Cited, Cited.turn)):
        assert rows(platform, table, column.in_(turns)) == []
    assert rows(platform, Conversation, Conversation.id == first["conversation"]) == []
    assert platform.w.memory.status(made["example"]) == "approved"
    with pytest.raises(NotFound):
        platform.ask("And from abroad?", conversation=first["conversation"], user=user)


def test_what_a_document_said_leaves_a_conversation_with_it(platform: Platform, user: str) -> None:
    text = "# Ferry\n\nThe ferry to the island is steered by Captain Olga Brandt. She sails at seven every morning.\n"
    platform.ingest([incoming("ferry.md", text, workspace="harbour")])
    answers = talk(platform, user, "Who steers the ferry to the island?", "When does she sail?", workspace="harbour")
    assert "Olga Brandt" in answers[1]["question"]
    platform.delete("ferry.md")
    shown = platform.conversation(answers[0]["conversation"], user=user)
    assert "Olga" not in str(shown)
    assert shown["turns"][0]["shown"]["answer"].startswith(REDACTED)
    assert shown["turns"][1]["standalone"] == "When does she sail?"
    assert [e.answer for e in platform.w.conversations.history(answers[0]["conversation"])] == ["", ""]


def test_a_document_that_is_deleted_while_it_is_quoted_leaves_no_word(platform: Platform, user: str) -> None:
    text = "# Tram\n\nThe tram to the quarry is driven by Ottoline Quill. It leaves at nine.\n"
    platform.ingest([incoming("tram.md", text, workspace="quarry")])
    events = platform.ask_stream("Who drives the tram to the quarry?", workspace="quarry", user=user)
    before = [next(events), next(events)]
    platform.delete("tram.md")
    done = [*before, *events][-1]
    assert "Ottoline" in done["answer"]
    kept = platform.w.turns.get(done["turn"])
    assert kept.shown["answer"].startswith(REDACTED)
    assert "Ottoline" not in str(kept.shown)
    assert "tram.md" not in str(kept.shown)
    assert rows(platform, Cited, Cited.turn == done["turn"]) == []


def test_a_refusal_that_says_where_it_looked_forgets_that_name(platform: Platform, user: str) -> None:
    platform.ingest([incoming("kite.md", "# Kite\n\nA kite flies.\n", workspace="sky")])
    shown = platform.ask("Who flies?", document="kite.md", workspace="sky", as_of="1999-01-01", user=user)
    assert "kite.md" in shown["answer"]
    platform.delete("kite.md")
    assert "kite.md" not in str(platform.w.turns.get(shown["turn"]).shown)


def test_a_note_in_words_of_a_deleted_document_goes_with_it(platform: Platform, user: str) -> None:
    text = "# Mill\n\nThe mill is run by Vincenza Orlo. She grinds rye.\n"
    platform.ingest([incoming("mill.md", text, workspace="valley")])
    platform.ingest([incoming("weir.md", "# Weir\n\nThe weir is two metres high.\n", workspace="valley")])
    first = talk(platform, user, "Who runs the mill?", workspace="valley")[0]
    about = "The documents do not cover: “who is Vincenza Orlo”."
    other = platform.ask("How high is the weir?", workspace="valley", document="weir.md", user=user)
    other |= {"turn": f"turn-noted-{user}", "answer": f"{other['answer']}\n\n{about}", "notes": [about]}
    by = Asker(user=user, conversation=first["conversation"], asked="How high is the weir and who is she?")
    platform.w.turns.keep("valley", "How high is the weir and who is Vincenza Orlo?", other, 0, by)
    platform.delete("mill.md")
    kept = platform.conversation(first["conversation"], user=user)["turns"][1]["shown"]
    assert "Vincenza" not in str(kept)
    assert "two metres high" in kept["answer"]


def test_words_that_no_citation_leads_to_are_not_stored(platform: Platform, user: str) -> None:
    shown = platform.ask(RETURNS, user=user)
    shown |= {"turn": f"turn-drafted-{user}", "notes": ["Two sources differ: 30 days, 60 days."]}
    shown["sentences"] = [{"text": "A draft of its own", "supported": False}, {"text": "It is so.", "supported": True}]
    platform.w.turns.keep("default", RETURNS, shown, 0)
    stored = platform.w.turns.get(shown["turn"]).shown
    assert [s["text"] for s in stored["sentences"]] == ["[not shown]", "It is so."]
    platform.w.turns.erase(shown["citations"][0]["document"], [])
    redacted = platform.w.turns.get(shown["turn"]).shown
    assert [s["text"] for s in redacted["sentences"]] == [REDACTED, REDACTED]
    assert redacted["notes"] == [REDACTED]


# --- preferences ----------------------------------------------------------------------------------


def test_who_set_nothing_prefers_nothing_and_consents_to_nothing(platform: Platform, user: str) -> None:
    mine = platform.w.preferences.of(user)
    assert mine.wishes == Wishes()
    assert not mine.scoped
    assert not mine.consent


def test_preferences_are_checked_together_and_changed_all_or_none(platform: Platform, user: str) -> None:
    bad = {"language": "klingon", "length": "huge", "tone": "ignore {all}", "documents": ["no.md"], "consent": "maybe",
           "colour": "red"}  # fmt: skip
    with pytest.raises(UserError) as told:
        platform.set_me(bad | {"workspace": "guide"}, user=user)
    assert all(repr(value) in told.value.message for value in ("klingon", "huge", "ignore {all}", "no.md", "maybe"))
    assert "'colour'" in told.value.message
    assert rows(platform, PreferenceRow, PreferenceRow.user == user) == []
    platform.set_me({"language": "de-AT", "length": "short", "tone": "plain", "consent": "yes"}, user=user)
    assert platform.w.preferences.of(user).wishes == Wishes(language="de", length="short", tone="plain")
    assert platform.set_me({"language": None, "tone": ""}, user=user)["language"] is None
    assert platform.w.preferences.of(user).wishes == Wishes(length="short")


def test_a_standing_scope_counts_where_the_question_gives_none_and_is_shown(platform: Platform, user: str) -> None:
    platform.set_me({"documents": ["summer camp.md"]}, user=user)
    shown = platform.ask("When does the camp gate open?", user=user)
    assert shown["scope"]["from"] == "preferences"
    assert [d["name"] for d in shown["scope"]["documents"]] == ["summer camp.md"]
    assert platform.ask(RETURNS, user=user)["abstained"]
    given = platform.ask(RETURNS, user=user, document="returns.md")
    assert given["scope"]["from"] == "question"
    assert "30 days" in given["answer"]
    assert "30 days" in platform.ask(RETURNS, user="")["answer"], "who measures asks as nobody"


def test_a_standing_scope_may_be_several_documents_or_tags_in_another_workspace(platform: Platform, user: str) -> None:
    pages = {"red.md": "The red boat leaves at noon.", "blue.md": "The blue boat leaves at dusk.", "old.md": "No boat."}
    for name, text in pages.items():
        platform.ingest(
            [incoming(name, f"# {name}\n\n{text}\n", workspace="pier", tags=("boats",) * (name != "old.md"))]
        )
    for scope in ({"documents": ["red.md", "blue.md"]}, {"documents": [], "workspace": "pier", "tags": [" Boats "]}):
        platform.set_me(scope, user=user)
        shown = platform.ask("When does the blue boat leave?", user=user)
        assert shown["workspace"] == "pier"
        assert shown["scope"]["from"] == "preferences"
        assert sorted(d["name"] for d in shown["scope"]["documents"]) == ["blue.md", "red.md"]
        assert "dusk" in shown["answer"]
    for wrong in ({"workspace": "default", "documents": ["red.md"]}, {"documents": ["red.md", "returns.md"]}):
        with pytest.raises(UserError, match="workspace"):
            platform.set_me(wrong, user=user)


def test_a_standing_scope_forgets_a_document_that_is_deleted(platform: Platform, user: str) -> None:
    platform.ingest([incoming("short lived.md", "# Comet\n\nThe comet comes back every 76 years.\n")])
    platform.set_me({"documents": ["short lived.md"]}, user=user)
    asked = platform.ask(RETURNS, user=user)
    receipt = platform.delete("short lived.md")
    assert receipt["preferences_changed"] == 1
    assert platform.me(user=user)["documents"] == []
    assert "short lived" not in str(platform.w.turns.get(asked["turn"]).shown)


# --- history and preferences stay out of training without consent ------------------------------------


def test_a_vote_on_a_followup_makes_no_example_without_consent(platform: Platform, user: str) -> None:
    before = len(rows(platform, Example))
    _, followup = talk(platform, user, "What does sending a parcel back cost?", "And from abroad?")
    for vote, correction in (("up", None), ("down", "From abroad the customer pays the postage.")):
        told = platform.feedback(followup["turn"], vote, correction)
        assert told["example"] is None
        assert told["needs_consent"]
    assert len(rows(platform, Example)) == before


def test_with_consent_the_example_is_the_question_as_understood(platform: Platform, user: str) -> None:
    platform.set_me({"consent": True}, user=user)
    _, followup = talk(platform, user, "What does sending a parcel back cost?", "And from abroad?")
    made = platform.feedback(followup["turn"], "up")["example"]
    (example,) = rows(platform, Example, Example.id == made)
    assert example.question == "What does sending a parcel back cost from abroad?"
    withdrawn = platform.set_me({"consent": False}, user=user)
    assert withdrawn["examples_withdrawn"] == 1
    (example,) = rows(platform, Example, Example.id == made)
    assert (example.status, example.question) == ("retired", REDACTED)
    assert made not in platform.w.index.retrieve([example.point])


def test_an_example_that_only_consent_allowed_goes_with_its_conversation(platform: Platform, user: str) -> None:
    platform.set_me({"consent": True}, user=user)
    first, followup = talk(platform, user, "What does sending a parcel back cost?", "And from abroad?")
    # Of what no test before has kept an example: that would be the same from the same span, and make none.
    elsewhere = talk(platform, user, "Is a gift refunded with a voucher?", "And does it expire?")[1]
    plain, personal, other = (platform.feedback(a["turn"], "up")["example"] for a in (first, followup, elsewhere))
    assert len({plain, personal, other} - {None}) == 3
    with pytest.raises(NotFound):
        platform.delete_conversation(first["conversation"], user="another")
    assert platform.w.memory.status(personal) == "approved"
    practised = practised_as(platform, [personal, first["turn"], other])
    receipt = platform.delete_conversation(first["conversation"], user=user)
    assert (receipt["examples"], receipt["examples_kept"]) == (1, [plain])
    assert receipt["training_rows_redacted"] == 2
    assert [json.loads(line)["example"] for line in practised.read_text().splitlines()] == [other]
    (example,) = rows(platform, Example, Example.id == personal)
    assert (example.status, example.question, example.answer) == ("retired", REDACTED, None)
    assert not platform.w.index.retrieve([example.point])
    assert platform.w.memory.status(other) == "approved"
    assert platform.erase_me(user=user)["examples"] == 1
    assert practised.read_text() == ""
    assert platform.w.memory.status(other) == "retired"


TAKEN_BACK: dict[str, Callable[[Platform, str, str], Any]] = {
    "consent": lambda platform, user, conversation: platform.set_me({"consent": False}, user=user),
    "conversation": lambda platform, user, conversation: platform.delete_conversation(conversation, user=user),
    "everything": lambda platform, user, conversation: platform.erase_me(user=user),
}


@pytest.mark.parametrize("what", TAKEN_BACK)
def test_what_is_taken_back_while_a_vote_makes_an_example_takes_that_away_as_well(
    platform: Platform, user: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.set_me({"consent": True}, user=user)
    followup = talk(platform, user, "Is a gift refunded with a voucher?", "And does it expire?")[1]
    make, made = platform.w.memory.from_turn, []

    def slowly(*given: Any, **more: Any) -> str | None:
        made.append(make(*given, **more))
        TAKEN_BACK[what](platform, user, followup["conversation"])
        return made[-1]

    monkeypatch.setattr(platform.w.memory, "from_turn", slowly)
    told = platform.feedback(followup["turn"], "up")
    assert made[0]
    assert (told["example"], told["needs_consent"]) == (None, what != "conversation")
    (example,) = rows(platform, Example, Example.id == made[0])
    assert (example.status, example.question, example.answer) == ("retired", REDACTED, None)
    assert not platform.w.index.retrieve([example.point])


@pytest.mark.parametrize("when", ["before", "between", "while"])
@pytest.mark.parametrize("what", TAKEN_BACK)
def test_what_is_taken_back_goes_in_all_its_edited_forms(
    platform: Platform, user: str, what: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.set_me({"consent": True}, user=user)
    followup = talk(platform, user, "Is a gift refunded with a voucher?", "And does it expire?")[1]
    made = [platform.feedback(followup["turn"], "up")["example"]]

    def edit(words: str) -> None:
        made.append(platform.edit_example(made[-1], {"question": f"{words}, does a voucher expire?"})["example"])

    if when == "before":
        edit("Tell me")
        edit("Say")
    elif when == "between":  # after the forms were looked for, before they are taken away
        withdraw = platform.w.memory.withdraw

        def later(*given: Any) -> int:
            monkeypatch.undo()
            edit("Tell me")
            return withdraw(*given)

        monkeypatch.setattr(platform.w.memory, "withdraw", later)
    else:  # what is edited is taken away before the edited form is in use
        stage = platform.w.examples._stage

        def then(*given: Any) -> Any:
            staged = stage(*given)
            monkeypatch.undo()
            TAKEN_BACK[what](platform, user, followup["conversation"])
            return staged

        monkeypatch.setattr(platform.w.examples, "_stage", then)
        with pytest.raises(TryAgain, match="deleted meanwhile"):
            edit("Tell me")
        assert not rows(platform, Example, Example.question.contains("does a voucher expire"))
    practised = practised_as(platform, made)
    if when != "while":
        TAKEN_BACK[what](platform, user, followup["conversation"])
        assert practised.read_text() == ""
    for example in rows(platform, Example, Example.id.in_(made)):
        assert (example.status, example.question, example.answer) == ("retired", REDACTED, None)
        assert not platform.w.index.retrieve([example.point])


@pytest.mark.parametrize("last", [1, 2])
@pytest.mark.parametrize("what", ["conversation", "everything"])
def test_an_example_that_is_noted_while_its_person_is_forgotten_goes_with_them(
    platform: Platform, user: str, what: str, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.set_me({"consent": True}, user=user)
    followup = talk(platform, user, "Is a gift refunded with a voucher?", "And does it expire?")[1]
    look, looks, made = platform.w.conversations.examples, [], []

    def before_the_vote(*given: Any, **more: Any) -> list[str]:
        found = look(*given, **more)
        looks.append(found)
        if len(looks) == last:  # after the first look, or after the last
            made.append(platform.feedback(followup["turn"], "up")["example"])
        return found

    monkeypatch.setattr(platform.w.conversations, "examples", before_the_vote)
    receipt = TAKEN_BACK[what](platform, user, followup["conversation"])
    assert (receipt["examples"], receipt["examples_kept"]) == (1, [])
    (example,) = rows(platform, Example, Example.id == made[0])
    assert (example.status, example.question) == ("retired", REDACTED)


@pytest.mark.parametrize("what", ["conversation", "everything"])
def test_a_run_that_is_written_while_a_person_is_forgotten_keeps_no_row_of_theirs(
    platform: Platform, user: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = talk(platform, user, "Is a gift refunded with a voucher?")[0]
    step = {"conversation": "delete", "everything": "forget"}[what]
    forget, written = getattr(platform.w.conversations, step), []

    def late(*given: Any) -> Any:
        written.append(practised_as(platform, [turn["turn"]], f"run-{what}"))
        return forget(*given)

    monkeypatch.setattr(platform.w.conversations, step, late)
    receipt = TAKEN_BACK[what](platform, user, turn["conversation"])
    assert (receipt["training_rows_redacted"], written[0].read_text()) == (1, "")


def test_an_example_learns_the_answer_and_not_what_is_remarked_beside_it(platform: Platform, user: str) -> None:
    shown = platform.ask("What does sending a parcel back cost, and who founded Rome?", user=user)
    assert shown["notes"] == ["The documents do not cover: “who founded Rome”."]
    assert shown["notes"][0] in shown["answer"]
    made = platform.feedback(shown["turn"], "up")["example"]
    (example,) = rows(platform, Example, Example.id == made)
    assert example.answer == shown["answer"].removesuffix(shown["notes"][0]).strip()


def test_asking_alone_never_makes_an_example_with_or_without_consent(platform: Platform, user: str) -> None:
    before = platform.w.memory.counts()
    for consent in (False, True):
        platform.set_me({"consent": consent}, user=user)
        talk(platform, user, RETURNS, "And from abroad?", "Why?")
    platform.tick()
    assert platform.w.memory.counts() == before


def test_a_wish_that_shaped_an_answer_counts_as_personal(platform: Platform, user: str) -> None:
    """Only where a generator writes: a quotation is the documents' words, whatever its reader wishes."""
    platform.set_me({"tone": "formal"}, user=user)
    asked = platform._asked("What hums?", None, {"generator": "openai:http://x#m", "user": user})
    assert asked.wishes == Wishes(tone="formal")
    assert asked.by.personal
    assert not platform._asked("What hums?", None, {"user": user}).by.personal
    platform.set_me({"length": "short"}, user=user)
    assert platform._asked("What hums?", None, {"user": user}).by.personal  # how much is quoted is the person's wish


def test_filters_without_anything_in_them_leave_the_standing_scope(platform: Platform, user: str) -> None:
    platform.set_me({"documents": ["summer camp.md"]}, user=user)
    shown = platform.ask("When does the camp gate open?", user=user, filters={"tags": [], "since": None})
    assert shown["scope"]["from"] == "preferences"


# --- everything of a person ------------------------------------------------------------------------


def test_an_export_holds_everything_and_an_erasure_leaves_nothing(platform: Platform, user: str) -> None:
    platform.set_me({"language": "de", "consent": "yes"}, user=user)
    first, followup = talk(platform, user, "What does sending a parcel back cost?", "And from abroad?")
    alone = platform.ask(RETURNS, user=user)
    personal = platform.feedback(followup["turn"], "up")["example"]
    explicit = platform.feedback(alone["turn"], "up")["example"]
    export = platform.export_me(user=user)
    assert export["preferences"]["language"] == "de"
    assert [t["turn"] for c in export["conversations"] for t in c["turns"]] == [first["turn"], followup["turn"]]
    assert [t["turn"] for t in export["questions"]] == [alone["turn"]]
    assert {f["example"] for f in export["feedback"]} == {personal, explicit}
    receipt = platform.erase_me(user=user)
    counts = {name: receipt[name] for name in ("preferences", "conversations", "turns", "feedback", "examples")}
    assert counts == {"preferences": 1, "conversations": 1, "turns": 3, "feedback": 2, "examples": 1}
    assert receipt["examples_kept"] == [explicit]
    assert receipt["unreachable"]
    empty = platform.export_me(user=user)
    assert (empty["conversations"], empty["questions"], empty["feedback"]) == ([], [], [])
    for table in (PreferenceRow, Conversation, Turn):
        assert rows(platform, table, table.user == user) == []
    with platform.w.db.read() as session:
        newest = audit.entries(session, 1)[0]
        assert audit.intact(session)
    assert (newest["action"], newest["subject"]) == ("user.erase", receipt["key"])
    assert user not in str(newest), "the log that cannot be changed does not keep the name"


# --- doors -----------------------------------------------------------------------------------------


def test_over_http_the_header_says_who_and_without_it_one_is_local(http: TestClient) -> None:
    zoe = {"X-Reprise-User": "Zo%C3%AB"}
    assert http.patch("/v1/me", json={"language": "de", "tags": []}, headers=zoe).json()["user"] == "Zoë"
    assert http.get("/v1/me", headers=zoe).json()["language"] == "de"
    assert http.get("/v1/me").json()["user"] == "local"
    assert http.get("/v1/me").json()["language"] is None
    asked = http.post("/v1/ask", json={"question": RETURNS, "conversation": "new"}, headers=zoe).json()
    place = f"/v1/conversations/{asked['conversation']}"
    assert asked["user"] == "Zoë"
    assert http.get(place).status_code == 404
    assert http.get(place, headers=zoe).json()["turns"][0]["turn"] == asked["turn"]
    assert http.patch(place, json={"title": " Parcels  of mine "}, headers=zoe).json()["title"] == "Parcels of mine"
    assert [c["title"] for c in http.get("/v1/conversations", headers=zoe).json()] == ["Parcels of mine"]
    assert http.delete(place, headers=zoe).json()["turns"] == 1
    assert http.get("/v1/me/export", headers=zoe).json()["conversations"] == []
    assert http.delete("/v1/me", headers=zoe).json()["preferences"] == 1


@pytest.mark.parametrize(
    ("sent", "code", "status"),
    [
        ({"json": {"colour": "red"}}, "bad_request", 422),
        ({"json": {}}, "bad_preference", 400),
        ({"json": {"language": "xx"}}, "bad_preference", 400),
        ({"json": {"language": "de"}, "headers": {"X-Reprise-User": "a%0Ab"}}, "bad_user", 400),
        ({"json": {"language": "de"}, "headers": {"X-Reprise-User": "a" * 201}}, "bad_user", 400),
        ({"json": {"language": "de"}, "headers": {"X-Reprise-User": ""}}, "bad_user", 400),
    ],
)
def test_what_does_not_fit_is_said(http: TestClient, sent: dict[str, Any], code: str, status: int) -> None:
    answer = http.patch("/v1/me", **sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_the_command_line_does_the_same_as_its_user(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home")
    (tmp_path / "returns.md").write_text(LIBRARY["returns.md"])
    terminal.json("ingest", str(tmp_path / "returns.md"))
    first = terminal.json("ask", "What does sending a parcel back cost?", "-c", "new")
    place = first["conversation"]
    assert terminal.json("ask", "And from abroad?", "--conversation", place)["rewritten"]
    assert "Understood as: " in terminal.type("ask", "And from abroad?", "-c", place).stdout
    terminal.error("conversation", "show", place, env={"REPRISE_USER": "another"})
    assert terminal.json("conversations")[0]["turns_count"] == 3
    assert terminal.json("conversation", "rename", place, "Parcels")["title"] == "Parcels"
    assert "understood as" in terminal.type("conversation", "show", place).stdout
    set_ = ("me", "set", "language=de", "documents=returns.md", "consent=yes")
    assert terminal.json(*set_)["documents"][0]["name"] == "returns.md"
    assert terminal.json("me") == {k: v for k, v in terminal.json(*set_).items() if k != "examples_withdrawn"}
    assert "from your preferences" in terminal.type("ask", RETURNS).stdout
    assert terminal.json("me", "set", "documents=")["documents"] == []
    assert terminal.error("me", "set", "nonsense")["code"] == "usage"
    assert terminal.json("conversation", "delete", place)["turns"] == 3
    assert terminal.json("me", "export")["user"] == "local"
    assert terminal.json("me", "erase")["preferences"] == 1
