"""Sources that are followed: what happens there happens here, and what cannot be seen there is not taken for gone."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.events import Events
from ingest.moved import Moves
from ingest.tables import Document, Watch, WatchItem
from ingest.watch import JOB, Watches, key
from kernel import audit
from kernel.errors import Conflict, NotFound, Refused, RepriseError, UserError
from kernel.ids import digest, parse_time
from kernel.jobs import Cancelled, Ledger
from kernel.tables import Job
from tests.doors import written
from tests.house import House, incoming, page
from tests.internet import Site, site

pytestmark = pytest.mark.integration

LONG_AGO = time.time() - 3600
NOTHING = {"created": 0, "changed": 0, "moved": 0, "deleted": 0, "unchanged": 0, "failed": 0, "waiting": 0}


class Followed:
    """A folder, a watch on it, and the house that follows it."""

    def __init__(self, house: House, folder: Path, **given: Any) -> None:
        self.house, self.folder = house, folder
        self.watches = watches_of(house)
        self.id: str = self.watches.add(str(folder), "default", 600)["watch"]

    def write(self, name: str, text: str | bytes, when: float = LONG_AGO) -> Path:
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        os.utime(place, (when, when))
        return place

    def look(self, **given: Any) -> dict[str, Any]:
        """Look; what the outcome tells, zeros left out."""
        return told(self.watches.look(self.id, **given))

    def names(self) -> dict[str, str]:
        return {row["name"]: row["document"] for row in self.house.library.documents()}

    def items(self) -> dict[str, WatchItem]:
        with self.house.db.read() as session:
            return {item.item: item for item in session.query(WatchItem).filter_by(watch=self.id)}


def told(outcome: dict[str, Any]) -> dict[str, Any]:
    assert set(outcome) == {*NOTHING, "error"}
    return {what: count for what, count in outcome.items() if count}


def watches_of(house: House, owner: str = "one") -> Watches:
    return Watches(house.db, house.ingest, house.delete, house.settings, owner)


def text(title: str, body: str = "Somebody wrote this down so that it would not be forgotten.") -> str:
    return page(title, {"Body": body})


@pytest.fixture
def house(quick_folder: Path) -> Iterator[House]:
    with House(quick_folder / "home") as made:
        yield made


@pytest.fixture
def followed(house: House, quick_folder: Path) -> Followed:
    folder = quick_folder / "watched"
    folder.mkdir()
    return Followed(house, folder)


# --- a folder ------------------------------------------------------------------------------------


def test_what_happens_in_a_folder_happens_to_its_documents(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.write("deep/er/b.md", text("B"))
    followed.write(".hidden/c.md", text("C"))
    assert followed.look() == {"created": 2}
    assert set(followed.names()) == {"a.md", "deep/er/b.md"}
    assert followed.look() == {"unchanged": 2}
    followed.write("a.md", text("A", "Somebody else wrote something else."), LONG_AGO + 1)
    assert followed.look() == {"changed": 1, "unchanged": 1}
    assert [v["version"] for v in followed.house.library.history("a.md")] == [2, 1]


def test_row_05_a_deletion_at_the_source_is_followed_with_a_receipt(followed: Followed) -> None:
    """Competitors keep answering from files that are long gone: deletes at the source never reach them."""
    followed.write("stays.md", text("Stays"))
    followed.write("goes.md", text("Goes"))
    followed.look()
    goes = followed.names()["goes.md"]
    (followed.folder / "goes.md").unlink()
    assert followed.look() == {"deleted": 1, "unchanged": 1}
    assert set(followed.names()) == {"stays.md"}
    assert followed.house.shown(goes) == {}
    with followed.house.db.read() as session:
        (entry,) = [e for e in audit.entries(session) if e["action"] == "watch.delete"]
        assert audit.intact(session)
    assert entry["subject"] == goes
    assert entry["detail"]["receipt"]["remaining"] == 0
    assert entry["detail"]["receipt"]["points"] > 0
    assert "goes.md" not in str(entry)  # the log outlives the document
    assert set(followed.items()) == {"stays.md"}
    assert followed.look() == {"unchanged": 1}


def test_a_file_whose_size_and_time_are_what_they_were_is_not_read(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    followed.write("a.md", text("B"))  # as long as before, and at the same time
    assert followed.look() == {"unchanged": 1}
    assert followed.house.library.history("a.md")[0]["version"] == 1


def test_a_file_that_was_only_touched_is_read_and_not_published(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    followed.write("a.md", text("A"), LONG_AGO + 5)
    epoch = followed.house.epochs.committed()
    assert followed.look() == {"unchanged": 1}
    assert followed.house.epochs.committed() == epoch


def test_a_change_in_the_moment_of_a_look_is_seen_by_the_next(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.folder._FRESH_SECONDS", 600.0)  # the moment, which a busy machine may let pass
    now = time.time()
    followed.write("a.md", text("A"), now)
    assert followed.look() == {"created": 1}
    followed.write("a.md", text("B"), now)  # the same length and the same time: nothing but its bytes tells
    assert followed.look() == {"changed": 1}


def test_a_file_that_is_being_written_waits_for_the_next_look(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed.write("done.md", text("Done"))
    growing = followed.write("growing.md", "more and more. ", time.time())

    class Pause:
        """What a look waits for, while somebody goes on writing."""

        def wait(self, _seconds: float) -> None:
            with growing.open("a") as file:
                file.write("more and more. ")

    with monkeypatch.context() as patched:
        patched.setattr("ingest.folder._FRESH_SECONDS", 600.0)
        patched.setattr("ingest.folder.Event", Pause)
        assert followed.look() == {"created": 1, "waiting": 1}
    (row,) = followed.watches.listing()
    assert 0 <= parse_time(row["next"]) - parse_time(row["last"]) < 600_000  # it does not wait for its whole interval
    assert followed.look() == {"created": 1, "unchanged": 1}


# --- moved ---------------------------------------------------------------------------------------


def test_a_renamed_file_keeps_its_document_and_its_history(followed: Followed) -> None:
    followed.write("old.txt", "The lock turns clockwise.")
    followed.look()
    followed.write("old.txt", "The lock turns counter-clockwise.", LONG_AGO + 1)
    followed.look()
    document = followed.names()["old.txt"]
    before = followed.house.library.text("old.txt")
    epoch = followed.house.epochs.committed()
    (followed.folder / "kept").mkdir()
    (followed.folder / "old.txt").rename(followed.folder / "kept" / "new.txt")
    assert followed.look() == {"moved": 1}
    assert followed.names() == {"kept/new.txt": document}
    (row,) = followed.house.library.documents()
    assert (row["title"], row["source"]) == ("new", str(followed.folder / "kept" / "new.txt"))
    after = followed.house.library.text(document)
    assert {**after, "name": 0, "title": 0} == {**before, "name": 0, "title": 0}
    assert [v["version"] for v in followed.house.library.history("kept/new.txt")] == [2, 1]
    assert followed.house.epochs.committed() == epoch  # nothing was published
    last = followed.house.library.changes(0)[-1]
    assert (last["what"], last["document"], last["name"]) == ("moved", document, "kept/new.txt")
    assert set(followed.items()) == {"kept/new.txt"}
    assert followed.look() == {"unchanged": 1}
    followed.write("kept/new.txt", "The lock does not turn at all.", LONG_AGO + 2)
    assert followed.look() == {"changed": 1}
    assert followed.names() == {"kept/new.txt": document}


def test_a_copy_is_a_document_of_its_own(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    first = followed.names()["a.md"]
    followed.write("copy.md", text("A"))
    assert followed.look() == {"created": 1, "unchanged": 1}
    assert followed.names()["a.md"] == first
    assert followed.names()["copy.md"] != first


def test_of_several_new_files_with_its_bytes_one_is_the_document(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    document = followed.names()["a.md"]
    (followed.folder / "a.md").unlink()
    for name in ("b/c.md", "d/a.md", "e.md"):
        followed.write(name, text("A"))
    assert followed.look() == {"moved": 1, "created": 2}
    assert len(set(followed.names().values())) == 3
    assert document in followed.names().values()


def test_of_several_documents_that_left_each_goes_where_its_name_went(followed: Followed) -> None:
    followed.write("one.md", text("Same"))
    followed.write("two.md", text("Same"))
    followed.look()
    before = followed.names()
    for name in ("one.md", "two.md"):
        (followed.folder / "in").mkdir(exist_ok=True)
        (followed.folder / name).rename(followed.folder / "in" / name)
    assert followed.look() == {"moved": 2}
    assert followed.names() == {"in/one.md": before["one.md"], "in/two.md": before["two.md"]}


def test_a_file_that_takes_the_place_of_another_is_its_next_version(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.write("b.md", text("B"))
    followed.look()
    b = followed.names()["b.md"]
    (followed.folder / "a.md").replace(followed.folder / "b.md")
    os.utime(followed.folder / "b.md", (LONG_AGO + 9, LONG_AGO + 9))
    assert followed.look() == {"changed": 1, "deleted": 1}
    assert followed.names() == {"b.md": b}


def test_only_what_was_named_by_its_folder_is_followed(house: House, quick_folder: Path) -> None:
    folder = quick_folder / "folder"
    folder.mkdir()
    content = text("A").encode()
    (folder / "new.md").write_bytes(content)
    old = {"name": "old.md", "text": content, "source": str(folder / "old.md")}
    house.ingest.add([incoming(**old)])

    def follow(**given: Any) -> bool:
        fields = {"source": str(folder / "new.md"), "root": str(folder), **given}
        with house.db.write() as session:
            moved = Moves().follow(session, incoming(fields.pop("name", "new.md"), content, **fields), digest(content))
            session.rollback()
        return moved is not None

    assert follow()
    assert not follow(root=None)  # a single file
    assert not follow(root="/no/such/folder")  # of another machine: what is gone there cannot be seen from here
    assert not follow(root=str(quick_folder / "home"))  # it came from another folder
    assert not follow(explicit=True)  # a person named it
    assert not follow(source=str(folder / "not there.md"))
    assert not follow(workspace="other")
    assert not follow(name="old.md")  # a version of the document itself
    (folder / "old.md").write_bytes(content)
    assert not follow()  # a copy


def test_a_member_of_an_archive_has_not_left_while_the_archive_is_there(house: House, quick_folder: Path) -> None:
    folder = written(quick_folder / "folder", {"x.zip": b"PK", "new.md": text("A")})
    content = text("A").encode()
    house.ingest.add([incoming("x.zip/a.md", content, source=f"{folder}/x.zip!a.md")])
    file = incoming("new.md", content, source=f"{folder}/new.md", root=str(folder))
    with house.db.write() as session:
        assert Moves().follow(session, file, digest(content)) is None
    (folder / "x.zip").unlink()
    with house.db.write() as session:
        assert Moves().follow(session, file, digest(content)) is not None


# --- what cannot be seen -------------------------------------------------------------------------


def test_a_folder_that_is_gone_deletes_nothing(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    away = followed.folder.rename(followed.folder.with_name("away"))
    outcome = followed.look()
    assert outcome["error"]["code"] == "folder_missing"
    assert "deleted" not in outcome
    assert set(followed.names()) == {"a.md"}
    away.rename(followed.folder)
    assert followed.look() == {"unchanged": 1}


def test_a_folder_that_is_empty_all_at_once_deletes_nothing_and_says_so(followed: Followed) -> None:
    for name in ("a.md", "b.md"):
        followed.write(name, text(name))
    followed.look()
    shutil.rmtree(followed.folder)
    followed.folder.mkdir()  # a mount point without its disk
    error = followed.look()["error"]
    assert error["code"] == "source_empty"
    assert "2 document(s)" in error["message"]
    assert "none of them was deleted" in error["message"]
    assert set(followed.names()) == {"a.md", "b.md"}
    (row,) = followed.watches.listing()
    assert row["outcome"]["error"] == error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_in_it_that_may_not_be_read_deletes_nothing(followed: Followed) -> None:
    followed.write("closed/a.md", text("A"))
    followed.write("b.md", text("B"))
    followed.look()
    (followed.folder / "closed").chmod(0)
    try:
        assert followed.look() == {"unchanged": 1}
    finally:
        (followed.folder / "closed").chmod(0o700)
    assert set(followed.names()) == {"closed/a.md", "b.md"}


def test_what_nobody_could_look_into_is_unknown_and_not_gone() -> None:
    from ingest.folder import Scan

    scan = Scan(blind=["closed", "deep/er"])
    assert all(scan.unknown(name) for name in ("closed", "closed/a.md", "deep/er/b/c.md"))
    assert not any(scan.unknown(name) for name in ("closed.md", "closedness/a.md", "deep/b.md"))


def test_a_link_that_leads_out_of_the_folder_is_not_followed(followed: Followed, quick_folder: Path) -> None:
    secret = quick_folder / "secret.md"
    secret.write_text(text("Secret"))
    (followed.folder / "link.md").symlink_to(secret)
    (followed.folder / "folder").symlink_to(quick_folder, target_is_directory=True)
    followed.write("a.md", text("A"))
    assert followed.look() == {"created": 1}
    assert set(followed.names()) == {"a.md"}


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_bad_file_is_kept_with_its_error_and_the_others_come_in(followed: Followed) -> None:
    followed.write("bad.pdf", b"%PDF-1.7 is not what follows")
    followed.write("good.md", text("Good"))
    assert followed.look() == {"created": 1, "failed": 1}
    (row,) = followed.watches.listing()
    (failing,) = row["failing"]
    assert failing["item"] == "bad.pdf"
    assert failing["error"]["message"]
    assert failing["error"]["hint"]
    assert followed.look() == {"unchanged": 1, "failed": 1}  # as it was: not read again
    assert followed.look(asked=True) == {"unchanged": 1, "failed": 1}
    followed.write("bad.pdf", text("No PDF, but text"), LONG_AGO + 1)
    (followed.folder / "bad.pdf").rename(followed.folder / "fine.md")
    assert followed.look() == {"created": 1, "unchanged": 1}
    assert followed.watches.listing()[0]["failing"] == []


def test_a_document_keeps_its_last_good_version_while_its_file_is_bad(followed: Followed) -> None:
    followed.write("a.json", '{"rule": "No ball games."}')
    followed.look()
    followed.write("a.json", b"\x00" * 40, LONG_AGO + 1)
    assert followed.look() == {"failed": 1}
    assert set(followed.names()) == {"a.json"}
    followed.write("a.json", '{"rule": "No ball games."}', LONG_AGO + 2)
    assert followed.look() == {"unchanged": 1}
    assert followed.watches.listing()[0]["failing"] == []


def test_a_document_that_a_person_deleted_comes_back_when_its_file_changes(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.write("b.md", text("B"))
    followed.look()
    followed.house.delete.delete("a.md")
    assert followed.look() == {"unchanged": 2}
    assert followed.watches.listing()[0]["documents"] == 1
    followed.write("a.md", text("A"), LONG_AGO + 1)  # touched
    assert followed.look(asked=True) == {"unchanged": 2}
    assert set(followed.names()) == {"b.md"}
    followed.write("a.md", text("A", "A new page under an old name."), LONG_AGO + 2)
    assert followed.look() == {"created": 1, "unchanged": 1}
    assert set(followed.names()) == {"a.md", "b.md"}


def test_a_file_that_goes_after_its_document_is_forgotten(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.write("b.md", text("B"))
    followed.look()
    followed.house.delete.delete("a.md")
    (followed.folder / "a.md").unlink()
    assert followed.look() == {"unchanged": 1}
    assert set(followed.items()) == {"b.md"}
    followed.write("a.md", text("A"))
    assert followed.look() == {"created": 1, "unchanged": 1}


def test_a_document_that_went_elsewhere_is_not_deleted_with_its_old_file(followed: Followed) -> None:
    from ingest import sources

    followed.write("a.md", text("A"))
    followed.write("b.md", text("B"))
    followed.look()
    document = followed.names()["a.md"]
    (followed.folder / "a.md").rename(followed.folder / "z.md")
    # A person ingests the folder by hand before the look: whoever is first, it is one document.
    followed.house.ingest.add(sources.read([str(followed.folder)], workspace="default"))
    followed.look()
    assert set(followed.names()) == {"z.md", "b.md"}
    assert followed.names()["z.md"] == document


def test_an_archive_is_a_folder_in_the_folder(followed: Followed, quick_folder: Path) -> None:
    import zipfile

    def pack(files: dict[str, str], when: float) -> None:
        with zipfile.ZipFile(quick_folder / "x.zip", "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        followed.write("x.zip", (quick_folder / "x.zip").read_bytes(), when)

    followed.write("a.md", text("A"))
    pack({"one.md": text("One"), "two.md": text("Two")}, LONG_AGO)
    assert followed.look() == {"created": 3}
    assert set(followed.names()) == {"a.md", "x.zip/one.md", "x.zip/two.md"}
    assert followed.look() == {"unchanged": 2}
    pack({"one.md": text("One", "It was changed."), "three.md": text("Three")}, LONG_AGO + 1)
    assert followed.look() == {"changed": 1, "created": 1, "deleted": 1, "unchanged": 1}
    assert set(followed.names()) == {"a.md", "x.zip/one.md", "x.zip/three.md"}
    (followed.folder / "x.zip").unlink()
    assert followed.look() == {"deleted": 2, "unchanged": 1}


def test_a_look_that_is_cancelled_keeps_what_it_did(followed: Followed) -> None:
    for i in range(70):
        followed.write(f"{i:02}.md", text(f"Page {i}"))
    stages: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        stages.append((stage, done, total))
        if done == total == 70 and stage == "reading":
            raise Cancelled

    with pytest.raises(Cancelled):
        followed.look(progress=progress)
    assert len(followed.names()) == 64  # one batch
    assert stages[0][2] == 70
    assert followed.look() == {"created": 6, "unchanged": 64}


def test_a_watch_that_is_removed_while_it_is_looked_at_ends_the_look(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    with pytest.raises(Cancelled):
        followed.look(progress=lambda *_: followed.watches.listing() and followed.watches.remove(followed.id))
    assert followed.house.rows(WatchItem) == 0


# --- pages ---------------------------------------------------------------------------------------


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site(monkeypatch) as made:
        yield made


def sitemap(*pages: str, lastmod: str = "") -> str:
    changed = f"<lastmod>{lastmod}</lastmod>" if lastmod else ""
    entries = "".join(f"<url><loc>https://site.example{path}</loc>{changed}</url>" for path in pages)
    return f"<urlset>{entries}</urlset>"


def test_a_page_is_asked_for_conditionally_and_followed(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/terms.md", text("Terms"), etag='"1"')
    watch = watches.add("https://site.example/terms.md", "default", 600)
    assert watch["kind"] == "url"
    assert told(watches.look(watch["watch"])) == {"created": 1}
    assert told(watches.look(watch["watch"])) == {"unchanged": 1}
    assert web.answers() == [("/terms.md", 200), ("/terms.md", 304)]
    web.put("/terms.md", text("Terms", "New terms apply."), etag='"2"')
    assert told(watches.look(watch["watch"])) == {"changed": 1}
    (row,) = house.library.documents()
    assert (row["name"], row["live_version"]) == ("site.example/terms.md", 2)


def test_a_page_whose_server_knows_no_conditions_is_told_by_its_bytes(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/terms.md", text("Terms"))
    watch = watches.add("https://site.example/terms.md", "default", 600)["watch"]
    watches.look(watch)
    assert told(watches.look(watch)) == {"unchanged": 1}


def test_row_05_a_page_that_is_gone_twice_is_deleted(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/terms.md", text("Terms"), modified="Sun, 01 Nov 2026 08:00:00 GMT")
    watch = watches.add("https://site.example/terms.md", "default", 600)["watch"]
    watches.look(watch)
    kept = web.pages.pop("/terms.md")
    assert told(watches.look(watch)) == {"failed": 1}
    assert watches.listing()[0]["failing"][0]["error"]["code"] == "page_gone"
    web.pages["/terms.md"] = kept  # it was a moment's trouble
    assert told(watches.look(watch)) == {"unchanged": 1}
    web.pages.clear()
    assert told(watches.look(watch)) == {"failed": 1}
    assert told(watches.look(watch)) == {"deleted": 1}
    assert house.library.documents() == []


def test_a_site_in_trouble_deletes_nothing(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/terms.md", text("Terms"))
    watch = watches.add("https://site.example/terms.md", "default", 600)["watch"]
    watches.look(watch)
    web.pages["/terms.md"].status = 500
    for _ in range(3):
        assert told(watches.look(watch)) == {"failed": 1}
    assert len(house.library.documents()) == 1
    web.pages["/terms.md"].status = 200
    assert told(watches.look(watch)) == {"unchanged": 1}


def test_a_sitemap_brings_its_pages_and_takes_them_along(house: House, web: Site) -> None:
    watches = watches_of(house)
    for path in ("/a.md", "/b.md", "/c.md"):
        web.put(path, text(path), etag=f'"{path}"')
    web.put("/sitemap.xml", sitemap("/a.md", "/b.md", "/missing.md"))
    watch = watches.add("https://site.example/sitemap.xml", "default", 600)
    assert watch["kind"] == "sitemap"
    assert told(watches.look(watch["watch"])) == {"created": 2, "failed": 1}
    web.put("/sitemap.xml", sitemap("/b.md", "/c.md"))
    assert told(watches.look(watch["watch"])) == {"created": 1, "deleted": 1, "unchanged": 1}
    assert {row["name"] for row in house.library.documents()} == {"site.example/b.md", "site.example/c.md"}
    web.put("/sitemap.xml", sitemap())
    assert watches.look(watch["watch"])["error"]["code"] == "source_empty"
    del web.pages["/sitemap.xml"]
    assert watches.look(watch["watch"])["error"]["code"] == "url_refused"
    assert len(house.library.documents()) == 2


def test_a_page_that_the_sitemap_calls_unchanged_is_not_asked_for(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/a.md", text("A"))
    web.put("/sitemap.xml", sitemap("/a.md", lastmod="2020-01-01"))
    watch = watches.add("https://site.example/sitemap.xml", "default", 600)["watch"]
    watches.look(watch)
    web.answers()
    assert told(watches.look(watch)) == {"unchanged": 1}
    assert web.answers() == [("/sitemap.xml", 200)]
    assert told(watches.look(watch, asked=True)) == {"unchanged": 1}  # a person does not take the site's word for it
    assert ("/a.md", 200) in web.answers()


def test_a_page_that_turns_out_to_be_a_sitemap_is_read_as_one(house: House, web: Site) -> None:
    watches = watches_of(house)
    web.put("/a.md", text("A"))
    web.put("/pages", sitemap("/a.md"), kind="application/xml")
    watch = watches.add("https://site.example/pages", "default", 600)["watch"]
    assert told(watches.look(watch)) == {"created": 1}
    assert told(watches.look(watch)) == {"unchanged": 1}
    assert [row["name"] for row in house.library.documents()] == ["site.example/a.md"]


# --- when ----------------------------------------------------------------------------------------


def test_two_beats_look_once(house: House, quick_folder: Path) -> None:
    (quick_folder / "watched").mkdir()
    beats = [watches_of(house, owner) for owner in ("one", "two")]
    watch = beats[0].add(str(quick_folder / "watched"), "default", 600)["watch"]
    started: list[str] = []
    ready = threading.Barrier(2)

    def beat(watches: Watches) -> None:
        ready.wait()
        watches.fire(lambda found: started.append(found) or found)  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=beat, args=(watches,)) for watches in beats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [watch]
    assert beats[0].due() == []


def test_looks_are_jobs_and_one_that_is_due_waits_for_no_second(house: House, quick_folder: Path) -> None:
    (quick_folder / "watched").mkdir()
    (quick_folder / "watched" / "a.md").write_text(text("A"))
    watches = watches_of(house)
    watch = watches.add(str(quick_folder / "watched"), "default", 10)["watch"]
    ledger = Ledger(house.db, "one", 30, 3)
    ledger.register(JOB, lambda running: watches.look(running.args["watch"], running.progress), "ingest")
    start: Callable[[str], str] = lambda found: ledger.enqueue(JOB, {"watch": found}, keys=[key(found)])  # noqa: E731
    (job,) = watches.fire(start)
    assert watches.has_job(watch, ("queued",))
    with house.db.write() as session:
        session.get_one(Watch, watch).next = 0
    assert watches.fire(start) == []  # the last one is still to come to its end
    ledger.run(job)
    row = ledger.get(job)
    assert (row["state"], row["result"]["created"]) == ("done", 1)
    assert not watches.has_job(watch, ("queued", "running"))
    assert "a.md" not in str(row)  # a job outlives the documents it is about


def test_the_ledger_keeps_the_last_looks_only(house: House, quick_folder: Path) -> None:
    (quick_folder / "watched").mkdir()
    watches = watches_of(house)
    watch = watches.add(str(quick_folder / "watched"), "default", 600)["watch"]
    ledger = Ledger(house.db, "one", 30, 3)
    ledger.register(JOB, lambda running: watches.look(running.args["watch"], running.progress), "ingest")
    for _ in range(25):
        ledger.run(ledger.enqueue(JOB, {"watch": watch}, keys=[key(watch)]))
    assert house.rows(Job) == 21


def test_a_paused_watch_is_not_due_and_goes_on_at_once(house: House, quick_folder: Path) -> None:
    (quick_folder / "watched").mkdir()
    watches = watches_of(house)
    watch = watches.add(str(quick_folder / "watched"), "default", 600)["watch"]
    assert watches.pause(watch)["paused"]
    assert watches.due() == []
    assert watches.folders() == {}
    assert not watches.pause(watch)["paused"]
    assert [found.id for found in watches.due()] == [watch]


def test_removing_a_watch_keeps_its_documents(followed: Followed) -> None:
    followed.write("a.md", text("A"))
    followed.look()
    assert followed.watches.remove(followed.id)["documents"] == 1
    assert followed.watches.listing() == []
    assert set(followed.names()) == {"a.md"}
    with pytest.raises(NotFound):
        followed.watches.look(followed.id)


@pytest.mark.parametrize(
    ("location", "every", "error", "code"),
    [
        ("{folder}", 9, UserError, "bad_interval"),
        ("{folder}", 10**9, UserError, "bad_interval"),
        ("relative/folder", 600, UserError, "bad_location"),
        ("{folder}/no such", 600, NotFound, "missing_path"),
        ("/\0", 600, NotFound, "missing_path"),
        ("{folder}/file.md", 600, UserError, "not_a_folder"),
        ("{home}", 600, Refused, "not_watchable"),
        ("{home}/blobs", 600, Refused, "not_watchable"),
        ("http://user:secret@site.example/", 600, Refused, "url_refused"),
        ("http://", 600, Refused, "url_refused"),
        ("{known}", 600, Conflict, "watched_already"),
    ],
)
def test_what_cannot_be_watched_is_said_at_once(
    house: House, quick_folder: Path, location: str, every: int, error: type[RepriseError], code: str
) -> None:
    folder, known = quick_folder / "folder", quick_folder / "known"
    folder.mkdir()
    known.mkdir()
    (folder / "file.md").write_text("x")
    watches = watches_of(house)
    watches.add(str(known), "default", 600)
    with pytest.raises(error) as caught:
        watches.add(location.format(folder=folder, home=house.home, known=known), "default", every)
    assert caught.value.code == code
    assert caught.value.hint
    assert "secret" not in caught.value.message
    assert len(watches.listing()) == 1


def test_whoever_asks_from_afar_watches_only_what_is_allowed(quick_folder: Path) -> None:
    for name in ("shared", "private"):
        (quick_folder / name).mkdir()
    given = {"api_host": "0.0.0.0", "api_key": "k", "watch_roots": str(quick_folder / "shared")}
    with House(quick_folder / "home", **given) as house:
        watches = watches_of(house)
        assert watches.add(str(quick_folder / "shared"), "default", 600)["kind"] == "folder"
        with pytest.raises(Refused) as caught:
            watches.add(str(quick_folder / "private"), "default", 600)
        assert caught.value.code == "not_watchable"


def test_the_home_is_left_out_of_a_folder_around_it(quick_folder: Path) -> None:
    with House(quick_folder / "all" / "home") as house:
        (quick_folder / "all" / "a.md").write_text(text("A"))
        watches = watches_of(house)
        watch = watches.add(str(quick_folder / "all"), "default", 600)["watch"]
        assert told(watches.look(watch)) == {"created": 1}
        assert house.rows(Document) == 1


# --- events --------------------------------------------------------------------------------------


def test_a_folder_event_asks_for_a_look_at_once(quick_folder: Path) -> None:
    folders = {"watch-1": quick_folder / "one", "watch-2": quick_folder / "two"}
    for folder in folders.values():
        folder.mkdir()
    hints: list[str] = []
    heard = threading.Event()

    def hint(watch: str) -> None:
        hints.append(watch)
        heard.set()

    events = Events(lambda: dict(folders), hint, quick_folder / "home")
    events.start()
    try:
        assert events.listening.wait(60)
        (quick_folder / "one" / ".hidden").write_text("x")
        (quick_folder / "two" / "a.md").write_text("x")
        assert heard.wait(60)
        assert hints == ["watch-2"]
        heard.clear()
        folders["watch-3"] = quick_folder / "three"
        folders["watch-3"].mkdir()
        events.refresh()
        assert events.listening.wait(60)
        (quick_folder / "three" / "deep").mkdir()
        assert heard.wait(60)
        assert hints == ["watch-2", "watch-3"]
    finally:
        events.stop()
