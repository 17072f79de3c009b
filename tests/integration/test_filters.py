"""A filter narrows and never widens, at any epoch and time; checked against what the test knows it put in."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session

from ingest.changes import happened
from ingest.language import Languages
from ingest.library import Library
from ingest.tables import Document, Tag, Version
from ingest.tags import MOST, Tags
from kernel.audit import record
from kernel.blobs import FileBlobs
from kernel.database import MIGRATIONS, Database
from kernel.errors import NotFound, UserError
from kernel.ids import parse_time
from kernel.tables import AuditEntry, Job
from kernel.types import When
from retrieval import catalogue
from retrieval.catalogue import Catalogue, Catalogues
from retrieval.filters import DAY_MS, Filtering, Filters
from retrieval.scoping import Scoping
from retrieval.search import Scope
from tests.doors import memory_folder
from tests.house import House, incoming

pytestmark = pytest.mark.integration

SAYINGS = {
    "en": "A parcel can be sent back within thirty days of delivery, and the day of delivery does not count.",
    "de": "Ein Paket kann innerhalb von dreißig Tagen zurückgeschickt werden, der Tag der Zustellung zählt nicht.",
    "und": "12 34",
}
DATES = [f"2024-0{month}-01" for month in range(1, 7)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A version as it was put in."""

    document: str
    name: str
    source: str
    workspace: str
    tags: frozenset[str]
    language: str
    media_type: str
    begins: int
    epoch: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("filters")) as place:
        yield place


@pytest.fixture(scope="module")
def library(folder: Path) -> Iterator[tuple[House, list[Known]]]:
    """Documents of several kinds, each with one version or more, in epochs and at dates that do not go together."""
    with House(folder / "home") as house:
        yield house, list(filled(house))


def filled(house: House) -> Iterator[Known]:
    kinds = [
        ("policies/travel.md", "/srv/docs/policies/travel.md", "default", ("hr", "travel"), "en en de"),
        ("policies/leave.md", "/srv/docs/policies/leave.md", "default", ("hr",), "de"),
        ("notes/a[1].txt", "https://example.org/a?b=1", "default", (), "en de"),
        ("notes/b.txt", "https://example.org/b", "default", ("travel", "old news"), "und en"),
        ("Policies.html", "/srv/docs-old/Policies.html", "default", ("hr",), "en"),
        ("policies/travel.md", "/srv/docs/policies/travel.md", "elsewhere", ("hr", "travel"), "en"),
    ]
    media = {"md": "text/markdown", "txt": "text/plain", "html": "text/html"}
    for turn in range(3):
        for at, (name, source, workspace, tags, languages) in enumerate(kinds):
            spoken = languages.split()
            if turn >= len(spoken):
                continue
            begins = parse_time(DATES[(at + 2 * turn) % 2 + 2 * turn])
            said = f"{SAYINGS[spoken[turn]]} {turn}{at}"
            said = f"<p>{said}</p>" if name.endswith("html") else said
            file = incoming(name, said, source=source, workspace=workspace, at=begins, tags=tags)
            (row,) = house.ingest.add([file])["documents"]
            assert row["status"] == "published", row
            yield Known(
                document=row["document"],
                name=name,
                source=source,
                workspace=workspace,
                tags=frozenset(tags),
                language=spoken[turn],
                media_type=media[name.rpartition(".")[2]],
                begins=begins,
                epoch=house.epochs.committed(),
            )


def counting(known: list[Known], when: When) -> dict[str, Known]:
    """The version of each document that counts, by the definition: the newest that was known and had begun."""
    found: dict[str, Known] = {}
    for version in sorted(known, key=lambda v: v.epoch):
        if version.epoch <= when.epoch and version.begins <= when.at:
            found[version.document] = version
    return found


def fits(version: Known, asked: dict[str, Any]) -> bool:
    """Whether a version fits a request, one field after the other."""

    def one_of(field: str, test: Any) -> bool:
        return not asked.get(field) or any(test(value) for value in asked[field])

    def glob(called: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(called, pattern.replace("[", "[[]"))

    def day(name: str) -> int:
        return parse_time(asked[name])

    return (
        one_of("documents", lambda d: d == version.document or glob(version.name, d))
        and one_of("sources", lambda s: version.source.startswith(s + "/") or glob(version.source, s))
        and set(asked.get("tags", ())) <= version.tags
        and one_of("any_tags", lambda t: t in version.tags)
        and one_of("languages", lambda c: c == version.language)
        and one_of("media_types", lambda m: glob(version.media_type, m))
        and (not asked.get("since") or version.begins >= day("since"))
        and (not asked.get("until") or version.begins < day("until") + DAY_MS)
    )


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True)


REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "documents": some("policies/*", "*.txt", "policies/travel.md", "notes/a[1].txt", "*", "no*ne", "notes/?.txt"),
        "sources": some("/srv/docs", "/srv", "https://example.org/*", "https://example.org/a?b=1", "/srv/d", "*docs*"),
        "tags": some("hr", "travel", "old news", "never"),
        "any_tags": some("hr", "travel", "never"),
        "languages": some("en", "de", "und", "fr"),
        "media_types": some("text/*", "text/plain", "text/html", "application/pdf"),
        "since": st.sampled_from(DATES),
        "until": st.sampled_from(DATES),
    },
)


@given(
    asked=REQUESTS,
    workspace=st.sampled_from(["default", "elsewhere", None]),
    back=st.integers(0, 12),
    at=st.sampled_from([*DATES, "2023-01-01", "2030-01-01"]),
)
@settings(max_examples=150, deadline=None)
def test_a_filter_finds_exactly_what_fits_at_that_epoch_and_time(
    library: tuple[House, list[Known]], asked: dict[str, Any], workspace: str | None, back: int, at: str
) -> None:
    house, known = library
    filtering = Filtering(house.db, Languages(house.db, house.blobs))
    when = When(epoch=max(0, house.epochs.committed() - back), at=parse_time(at))
    mine = [v for v in known if workspace in (None, v.workspace)]
    wanted = frozenset(v.document for v in counting(mine, when).values() if fits(v, asked))
    if asked.get("since", "") > asked.get("until", "9"):
        with pytest.raises(UserError):
            Filters.of(asked)
        return
    names = {v.name for v in mine}
    if missing := [d for d in asked.get("documents", ()) if not set("*?") & set(d) and d not in names]:
        with pytest.raises(NotFound, match=missing[0].split("[")[0]):
            filtering.documents(Filters.of(asked), workspace, when)
        return
    assert filtering.documents(Filters.of(asked), workspace, when) == wanted


@given(
    asked=REQUESTS,
    question=st.sampled_from(["parcel within thirty days", "Paket Zustellung", "12 34"]),
    at=st.sampled_from(DATES[1:]),
)
@settings(max_examples=40, deadline=None)
def test_no_passage_of_a_search_comes_from_what_a_filter_leaves_out(
    library: tuple[House, list[Known]], asked: dict[str, Any], question: str, at: str
) -> None:
    house, known = library
    asked.pop("since", None)
    filtering = Filtering(house.db, Languages(house.db, house.blobs))
    scoping = Scoping(filtering, Catalogues(house.db), house.search.when, "off")
    given_scope = Scope(workspace="default", when=house.search.when(parse_time(at)))
    scope = scoping.of(question, given_scope, Filters.of(asked)).scope
    found = house.search.search(question, 50, scope)
    assert scope.when is not None
    counts = counting([v for v in known if v.workspace == "default"], scope.when)
    wanted = {v.document for v in counts.values() if fits(v, asked)}
    assert {p.document for p in found.passages} == wanted  # k is larger than all of them


@pytest.mark.parametrize(
    "asked",
    [
        {"tag": ["hr"]},
        {"tags": [""]},
        {"tags": "a,b"},
        {"tags": 7},
        {"documents": [None]},
        {"documents": ["a\x00b"]},
        {"sources": ["\ud800"]},
        {"languages": ["english"]},
        {"media_types": ["pdf"]},
        {"since": "yesterday"},
        {"since": 2024},
        {"since": "2024-02-01", "until": "2024-01-01"},
        {"sources": ["x"] * 1000},
    ],
)
def test_what_cannot_be_expressed_is_an_error(asked: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Filters.of(asked)


def test_no_filter_is_no_filter_and_a_day_counts_whole() -> None:
    assert not Filters.of(None).given
    assert not Filters.of({"tags": [], "since": None}).given
    assert Filters.of({"until": "2024-01-01"}).until == Filters.of({"until": "2024-01-01T23:59:59.999"}).until
    assert Filters.of({"languages": ["EN-us", "en"]}).languages == ("en",)


def test_dates_and_as_of_agree_on_the_version(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        for date, said in (("2024-01-01", SAYINGS["en"]), ("2024-06-01", SAYINGS["de"])):
            house.ingest.add([incoming("a.md", said, at=parse_time(date))])
        filtering = Filtering(house.db, Languages(house.db, house.blobs))

        def found(asked: dict[str, Any], at: str) -> int:
            return len(filtering.documents(Filters.of(asked), "default", house.search.when(parse_time(at))))

        assert found({"languages": ["en"], "until": "2024-01-01"}, "2024-03-01") == 1
        assert found({"languages": ["de"]}, "2024-03-01") == 0
        assert found({"since": "2024-02-01"}, "2024-03-01") == 0
        assert found({"since": "2024-02-01", "languages": ["de"]}, "2024-06-01") == 1
        assert found({"languages": ["en"]}, "2024-06-01") == 0
        assert found({}, "2023-01-01") == 0


def test_a_filter_on_a_language_finds_documents_of_before_languages_were_told(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        house.ingest.add([incoming("a.md", SAYINGS["en"]), incoming("b.md", SAYINGS["de"])])
        with house.db.write() as session:  # as an older release left them
            session.execute(update(Version).values(language=None))
        languages = Languages(house.db, house.blobs)
        assert {row["language"] for row in house.library.documents()} == {None}
        found = Filtering(house.db, languages).documents(Filters.of({"languages": "de"}), None, house.search.when())
        assert [row["language"] for row in house.library.documents()] == ["en", "de"]
        assert found == {house.library.find("b.md").id}
        with house.db.write() as session:
            session.execute(update(Version).values(language=None))
        assert [languages.fill(1), languages.fill(), languages.fill()] == [1, 1, 0]


def test_a_home_of_an_older_release_gets_tags_and_languages(quick_folder: Path) -> None:
    from alembic import command
    from alembic.config import Config

    url = f"sqlite:///{quick_folder / 'reprise.db'}"
    with create_engine(url).begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "0002")
        connection.execute(text("INSERT INTO documents VALUES ('d', 'default', 'a.md', 'A', 'a', 'live', 1, 1, NULL)"))
        connection.execute(
            text(
                "INSERT INTO versions (document, number, state, sha256, text_key, media_type, bytes, pages, chunker, "
                "valid_from, valid_until, born, died, chunks_new, chunks_kept, chunks_retired, created) VALUES "
                "('d', 1, 'live', 's', 'gone', 'text/plain', 1, '[]', 'c', 1, 9007199254740992, 1, 9007199254740992, "
                "1, 0, 0, 1)"
            )
        )
    db = Database(url)
    Tags(db).change("a.md", ["old"])
    (row,) = Library(db, FileBlobs(quick_folder / "blobs")).documents()
    assert (row["tags"], row["language"]) == (["old"], None)
    asked = Filters.of({"tags": ["old"], "languages": ["und"]})  # its text is not there to be read
    filtering = Filtering(db, Languages(db, FileBlobs(quick_folder / "blobs")))
    assert filtering.documents(asked, "default", When(epoch=1, at=10)) == {"d"}
    db.close()


def test_tags_come_with_a_file_stay_with_the_document_and_leave_with_it(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        house.ingest.add([incoming("a.md", "one", tags=("hr", "secret word"))])
        house.ingest.add([incoming("a.md", "two", tags=("new",)), incoming("b.md", "other", tags=("hr",))])
        house.ingest.add([incoming("b.md", "other", tags=("unchanged",))])
        tags = Tags(house.db)
        assert [row["tags"] for row in house.library.documents()] == [["hr", "new", "secret word"], ["hr", "unchanged"]]
        assert tags.change("a.md", ["HR ", "X"], ["new", "never"])["tags"] == ["hr", "secret word", "x"]
        assert tags.of("a.md")["tags"] == ["hr", "secret word", "x"]
        with pytest.raises(UserError, match="both added and removed"):
            tags.change("a.md", ["y"], ["Y"])
        with pytest.raises(UserError) as refused:
            tags.change("a.md", [f"t{n}" for n in range(MOST)])
        assert refused.value.code == "too_many_tags"
        receipt = house.delete.delete("a.md")
        assert (receipt["tags"], receipt["remaining"]) == (3, 0)
        with house.db.read() as session:
            assert [(t.tag) for t in session.query(Tag).order_by(Tag.tag)] == ["hr", "unchanged"]
            kept = str([e.detail for e in session.query(AuditEntry)]) + str([j.args for j in session.query(Job)])
        assert "secret word" not in kept


def test_the_catalogue_knows_what_was_committed_renamed_tagged_and_deleted(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        house.ingest.add([incoming("a.md", "one"), incoming("b.md", "two"), incoming("c.md", "x", workspace="other")])
        catalogues = Catalogues(house.db)
        first = catalogues.of("default")
        assert {card.entry.name for card in first.cards.values()} == {"a.md", "b.md"}
        assert catalogues.of("default") is first
        Tags(house.db).change("a.md", ["blue"])
        assert catalogues.of("default").by_tag.keys() == {"blue"}
        house.delete.delete("a.md")
        house.ingest.add([incoming("d.md", "three")])
        assert {card.entry.name for card in catalogues.of("default").cards.values()} == {"b.md", "d.md"}
        assert catalogues.of("default").by_tag == {}
        assert len(catalogues.of(None)) == 3


def test_a_catalogue_is_made_anew_by_what_names_documents_and_by_nothing_else(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str | None] = []

    def counted(session: Session, workspace: str | None, before: Catalogue) -> Catalogue:
        made.append(workspace)
        return brought_up(session, workspace, before)

    brought_up = catalogue._brought_up
    monkeypatch.setattr(catalogue, "_brought_up", counted)
    with House(quick_folder / "home") as house:
        house.ingest.add([incoming("a.md", "one"), incoming("b.md", "two", workspace="other", tags=("red",))])
        catalogues = Catalogues(house.db)
        first = catalogues.of("default")
        for action in ("feedback", "schedule.add", "retention", "user.erase"):
            with house.db.write() as session:
                record(session, action, "x")
            assert catalogues.of("default") is first
        assert made == ["default"]
        house.ingest.add([incoming("a.md", "one", tags=("blue",))])  # the same bytes: no version, and so no epoch
        assert catalogues.of("default").by_tag.keys() == {"blue"}
        assert made == ["default"] * 2
        with house.db.write() as session:
            session.execute(update(Document).where(Document.name == "a.md").values(name="c.md"))
            happened(session, "move", "x")
        assert {card.entry.name for card in catalogues.of("default").cards.values()} == {"c.md"}
        assert made == ["default"] * 3


def test_who_asks_while_a_catalogue_is_brought_up_to_date_has_the_one_before(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()

    def slow(session: Session, workspace: str | None, before: Catalogue) -> Catalogue:
        begun.set()
        assert go_on.wait(60)
        return brought_up(session, workspace, before)

    brought_up = catalogue._brought_up
    with House(quick_folder / "home") as house, ThreadPoolExecutor(2) as threads:
        house.ingest.add([incoming("a.md", "one")])
        catalogues = Catalogues(house.db)
        monkeypatch.setattr(catalogue, "_brought_up", slow)
        both = [threads.submit(catalogues.of, "default") for _ in range(2)]  # without a first one they wait
        assert begun.wait(60)
        assert not any(one.done() for one in both)
        go_on.set()
        first = both[0].result(60)
        assert both[1].result(60) is first
        assert len(first) == 1
        begun.clear(), go_on.clear()
        house.ingest.add([incoming("b.md", "two")])
        refreshed = threads.submit(catalogues.of, "default")
        assert begun.wait(60)
        assert catalogues.of("default") is first
        go_on.set()
        assert len(refreshed.result(60)) == 2
        assert catalogues.of("default") is refreshed.result()


def test_an_inferred_scope_stays_within_what_is_given_and_can_be_switched_off(quick_folder: Path) -> None:
    with House(quick_folder / "home") as house:
        old, new = parse_time("2024-01-01"), parse_time("2030-01-01")
        house.ingest.add(
            [
                incoming("handbook.pdf.md", "ham", at=old, tags=("food",)),
                incoming("travel policy.md", "trains", at=old),
                incoming("later policy.md", "planes", at=new),
            ]
        )
        filtering = Filtering(house.db, Languages(house.db, house.blobs))
        scoping = Scoping(filtering, Catalogues(house.db), house.search.when, "auto")
        here, travel = Scope(workspace="default"), house.library.find("travel policy.md").id
        question = "According to the travel policy, who pays?"
        scoped = scoping.of(question, here, Filters())
        assert (scoped.scope, scoped.wide) == (Scope(workspace="default", documents=frozenset({travel})), here)
        assert scoped.as_json()["inferred"] == {
            "documents": [{"document": travel, "name": "travel policy.md"}],
            "phrase": "travel policy",
            "reason": "named",
        }
        assert scoping.of(question, here, Filters(), "off").scope == here
        assert scoping.of(question, replace(here, document=travel), Filters()).inferred is None
        assert scoping.of(question, here, Filters.of({"documents": ["*"]})).inferred is None
        tagged = scoping.of(question, here, Filters.of({"tags": ["food"]}))  # it is not among those
        assert tagged.inferred is None
        assert tagged.scope.documents == {house.library.find("handbook.pdf.md").id}
        assert scoping.of("According to the later policy, who pays?", here, Filters()).inferred is None
        early = replace(here, when=house.search.when(old - 1))
        assert scoping.of(question, early, Filters()).scope == early
        with pytest.raises(UserError, match="no scope 'on'"):
            scoping.of(question, here, Filters(), "on")
        nothing = scoping.of(question, here, Filters.of({"tags": ["never"]})).scope
        assert nothing.documents == frozenset()
        assert house.search.search(question, 5, nothing).passages == ()
