"""The web app in a real browser, over a real node: from an upload to a verdict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RETURNS = """# Returns

## Time limit

Customers can return an article within 30 days of delivery. The date on the parcel label counts.

## Gifts

Gifts can be returned within 60 days. The giver is not told about it.

## Hygiene

Opened cosmetics and underwear cannot be returned. <img src=x onerror=alert(1)> [evil](https://evil.example)
"""
SHIPPING = """# Shipping

## Cost

Standard shipping costs 4.90 euros. Orders above 50 euros are shipped free of charge.

## Islands

Parcels to islands take three days longer and cost 9 euros more.

## Tracking

A tracking number is sent by e-mail as soon as the parcel leaves the warehouse.
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


def examples() -> str:
    """Forty questions in the words of customers, each tied to its sentence."""
    topics = {
        ("returns.md", "Customers can return an article within 30 days of delivery."): "send it back after {} days",
        ("returns.md", "Gifts can be returned within 60 days."): "grandma's present does not fit, {} days ago",
        ("shipping.md", "Orders above 50 euros are shipped free of charge."): "basket of {} euros, do I pay postage",
        ("shipping.md", "Parcels to islands take three days longer and cost 9 euros more."): "I live on isle no. {}",
    }
    rows = [
        {"question": f"{words.format(n)}?", "document": document, "quote": quote, "slice": document.removesuffix(".md")}
        for (document, quote), words in topics.items()
        for n in range(11, 111, 10)
    ]
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A node of its own with its web app."""
    home = tmp_path_factory.mktemp("home")
    command = [
        sys.executable,
        "-m",
        "ui.cli",
        "up",
        "--port",
        "0",
        "--web-port",
        "0",
        "--no-guide",
        "--home",
        str(home),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("REPRISE_")}
    with (home / "log").open("w") as log:
        node = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert node.stdout is not None
        try:
            line = node.stdout.readline()
            assert line, (home / "log").read_text()
            yield json.loads(line)
        finally:
            node.terminate()
            node.wait(60)
            node.stdout.close()


@pytest.fixture
def page(urls: dict[str, str]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.leaving = []  # type: ignore[attr-defined]
        page.on(
            "request",
            lambda r: (
                None if "//127.0.0.1" in r.url[:20] or r.url[:5] in ("data:", "blob:") else page.leaving.append(r.url)
            ),
        )  # type: ignore[attr-defined]
        page.goto(urls["web"])
        yield page
        browser.close()


def go(page: Any, name: str, tab: str | None = None) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    page.locator(".rp-head h1", has_text=name).wait_for()
    if tab is not None:
        page.get_by_role("tab", name=tab, exact=True).click()


def upload(page: Any, files: dict[str, str]) -> None:
    """Send files from the Upload tab, and wait until it is said what became of them."""
    sent = [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in files.items()]
    page.locator("input[type=file]").first.set_input_files(sent)
    page.get_by_role("button", name="Publish", exact=True).last.click()
    page.get_by_text("Published documents can be asked about now.").wait_for()


def test_a_person_goes_from_an_upload_to_a_verdict(page: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    shots = iter(range(1, 100))

    def shot(name: str) -> None:
        page.screenshot(path=tmp_path / f"{next(shots):02}-{name}.png")

    # Upload two documents and watch them being published.
    go(page, "Library", "Upload")
    upload(page, {"returns.md": RETURNS, "shipping.md": SHIPPING})
    shot("library")

    # Ask, and open the citation: the quote is marked in its text, and what looks like HTML stays text.
    go(page, "Chat")
    box = page.get_by_placeholder("Ask a question")
    box.fill("How long can gifts be returned?")
    box.press("Enter")
    answer = page.get_by_test_id("answer")
    answer.get_by_text("60 days").wait_for()
    answer.get_by_role("button", name="Open citation 1").click()
    mark = page.get_by_test_id("passage").locator("mark")
    assert "Gifts can be returned within 60 days." in mark.inner_text()
    assert "<img src=x" in page.get_by_test_id("passage").inner_text()
    assert page.get_by_test_id("passage").locator("img, a").count() == 0
    shot("citation")

    # What the documents do not say is refused.
    box.fill("What is the capital of France?")
    box.press("Enter")
    page.get_by_text("No answer in the documents").wait_for()
    shot("refusal")

    # A correction that a passage supports becomes an example.
    page.get_by_role("button", name="Correct it").first.click()
    page.get_by_label("What should it have said?").fill("Gifts can be returned within 60 days.")
    page.get_by_role("button", name="Send correction").click()
    page.get_by_text("Your correction became example").wait_for()
    shot("correction")

    # Import more, see them, and start a retrain from the preview of its mix.
    go(page, "Rehearsal")
    page.get_by_role("tab", name="Add", exact=True).click()
    page.get_by_label("… or lines pasted here").fill(examples() + "\nnot json")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("40 examples imported").wait_for()
    page.get_by_text("1 line was not taken").wait_for()
    shot("import")
    page.get_by_role("tab", name="Examples", exact=True).click()
    page.get_by_text("41 examples").wait_for()
    shot("examples")
    page.get_by_role("tab", name="Next mix", exact=True).click()
    page.get_by_role("button", name="Start the retrain").wait_for()
    page.get_by_text("Replay ratio 30 %").wait_for()
    shot("preview")
    page.get_by_role("button", name="Start the retrain").click()

    # The verdict comes with its reasons, its slices and its mix.
    page.locator(".rp-head h1", has_text="Adapters").wait_for()
    page.locator(".rp-tag", has_text="accepted").or_(page.locator(".rp-tag", has_text="rejected")).wait_for(
        timeout=400_000
    )
    shot("verdict")
    page.locator(".rp-reasons li").first.wait_for()
    page.locator(".rp-ci").first.wait_for()
    mix = page.get_by_text("The mix it was trained on")
    expect(mix).to_have_count(1, timeout=60_000)  # while a page is drawn anew, what stood there before still does
    mix.click()
    page.get_by_text("policy mixed").last.wait_for()
    shot("mix")

    # Its card, and every other tab; then the schedule in words.
    for tab, shown in (
        ("Adapters", "Where its examples come from"),
        ("Rollout", "A place of its own"),
        ("Gate", "Save"),
    ):
        page.get_by_role("tab", name=tab, exact=True).last.click()
        page.get_by_text(shown).first.wait_for()
        shot(tab.lower())
    go(page, "Schedule")
    page.get_by_text("working days at 04:00").click()
    page.get_by_text("0 4 * * 1-5 means on working days at 04:00.").wait_for()
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("On working days at 04:00 (UTC)").wait_for()
    shot("schedule")
    go(page, "System")
    shot("system")
    assert page.get_by_test_id("stException").count() == 0
    assert page.leaving == []


HOURS = """# Opening hours

The shop on Market Street is open from 9 to 18 on working days. <b>Sundays</b> it is closed.
"""


def test_a_person_sees_what_became_of_each_file_and_an_edit_word_by_word(page: Any) -> None:
    go(page, "Library", "Upload")
    upload(page, {"hours.md": HOURS, "torn.pdf": "%PDF-1.4 and nothing more", "empty.txt": ""})
    rows = page.locator(".rp-grid tbody tr")
    assert "published" in rows.filter(has_text="hours.md").inner_text()
    torn = rows.filter(has_text="torn.pdf").inner_text()
    assert "refused" in torn
    assert "damaged PDF" in torn
    assert "is empty" in rows.filter(has_text="empty.txt").inner_text()

    # The same name again is the next version; what was not edited is kept.
    page.locator("[data-testid=stFileUploader]").wait_for()
    sent = {"name": "hours.md", "mimeType": "text/plain", "buffer": HOURS.replace("18", "20").encode()}
    page.locator("input[type=file]").first.set_input_files([sent])
    page.get_by_role("button", name="Publish", exact=True).last.click()
    rows.filter(has_text="hours.md").nth(1).wait_for()
    assert rows.filter(has_text="hours.md").first.locator(".rp-number").first.inner_text() == "2"

    # The job is on the System page, with what became of its file.
    go(page, "System", "Jobs")
    jobs = page.get_by_role("combobox", name="Open a job")
    jobs.fill("Upload")
    page.get_by_role("option", name="Upload").first.click()
    page.locator(".rp-grid tbody tr").filter(has_text="hours.md").wait_for()

    # Compare shows the words, and what looks like HTML stays text.
    go(page, "Library", "Documents")
    box = page.get_by_role("combobox", name="Open a document")
    box.fill("hours")
    page.get_by_role("option", name="hours.md").click()
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator(".rp-pair del").wait_for()
    assert page.locator(".rp-pair del").all_inner_texts() == ["18"]
    assert page.locator(".rp-pair ins").all_inner_texts() == ["20"]
    assert "<b>Sundays</b>" in page.locator(".rp-come").inner_text()
    assert page.locator(".rp-pair b").count() == 0
    assert page.leaving == []


def test_a_folder_is_followed_and_looked_at(page: Any, tmp_path: Path) -> None:
    (tmp_path / "staff.md").write_text("# Staff\n\nThe shop has four employees and an apprentice.\n")
    (tmp_path / "torn.pdf").write_text("%PDF-1.4 and nothing more")
    go(page, "Library", "Sources")
    page.get_by_text("Nothing is followed yet.").wait_for()
    place = page.get_by_placeholder("sitemap.xml")
    place.fill("shelf")
    page.get_by_role("button", name="Follow", exact=True).click()
    page.get_by_text("is neither an address nor a full path").wait_for()
    place.fill(str(tmp_path))
    page.get_by_role("button", name="Follow", exact=True).click()
    page.get_by_text("1 document", exact=False).first.wait_for()
    page.get_by_text("1 failed").wait_for()
    page.get_by_text("What is not taken from there: 1").click()
    page.get_by_text("damaged PDF").wait_for()

    page.get_by_role("button", name="Pause", exact=True).click()
    page.locator(".rp-tag", has_text="paused").wait_for()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("Nothing is followed yet.").wait_for()
    go(page, "System", "Audit log")
    page.get_by_text("the chain holds").wait_for()
    assert page.get_by_test_id("stException").count() == 0
    assert page.leaving == []


def test_a_person_holds_a_conversation_comes_back_to_it_and_deletes_it(page: Any) -> None:
    go(page, "Library", "Upload")
    upload(page, {"lending.md": "# Lending\n\nA book is lent for four weeks. A film is lent for three days.\n"})
    go(page, "Chat")
    box = page.get_by_placeholder("Ask a question")
    box.fill("How long is a book lent?")
    box.press("Enter")
    page.get_by_test_id("answer").get_by_text("four weeks").wait_for()
    page.get_by_role("button", name="Correct it").wait_for()
    box.fill("What about a film?")
    box.press("Enter")
    page.get_by_text("Understood as: How long is a book lent (a film)?").wait_for()
    page.get_by_test_id("answer").get_by_text("three days").last.wait_for()

    # A new one begins empty; the old one comes back whole.
    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_text("Understood as").wait_for(state="hidden")
    talks = page.locator(".st-key-talks-list")
    talks.get_by_role("button", name="How long is a book lent?").first.click()
    page.get_by_text("Understood as").wait_for()

    page.locator(".st-key-talk-now [data-testid=stPopoverButton]").first.click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_text("Deleted with 2 questions.").wait_for()
    talks.get_by_role("button", name="How long is a book lent?").wait_for(state="hidden")

    # Preferences are kept, said, and erased.
    page.locator(".st-key-chat-me button").first.click()
    page.get_by_label("Tone").fill("plain")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    page.get_by_role("button", name="Erase everything …").click()
    page.get_by_role("button", name="Erase everything about me").click()
    page.get_by_text("Erased: ").wait_for()
    assert page.get_by_test_id("stException").count() == 0
    assert page.leaving == []


NOTICE_OLD = "# Notice 2022\n\nThe parking garage costs 40 euros a month.\n"
NOTICE_NEW = "# Notice 2024\n\nThe parking garage costs 55 euros a month. <img src=x onerror=alert(1)>\n"


def test_a_person_sees_how_an_answer_was_found(page: Any) -> None:
    go(page, "Library", "Upload")
    upload(page, {"notice-2022.md": NOTICE_OLD, "notice-2024.md": NOTICE_NEW})
    go(page, "Chat")
    box = page.get_by_placeholder("Ask a question")
    box.fill("How much does the parking garage cost a month?")
    box.press("Enter")
    page.locator(".rp-busy").or_(page.locator(".rp-coming")).or_(page.get_by_test_id("answer")).first.wait_for()
    page.get_by_test_id("answer").get_by_text("55 euros").first.wait_for()
    page.get_by_role("note").get_by_text("The sources disagree").wait_for()

    page.get_by_role("button", name="How was this found?").click()
    page.locator(".rp-head h1", has_text="Search").wait_for()
    assert page.get_by_label("Question").input_value() == "How much does the parking garage cost a month?"
    page.locator(".rp-hit", has_text="Notice 2024").wait_for()
    page.get_by_role("tab", name="What an answer would make of it").click()
    page.locator(".rp-tag", has_text="would be answered").wait_for()
    assert page.locator(".rp-grid tr", has_text="55 euros").locator(".rp-tag").inner_text() == "quoted"
    page.get_by_role("tab", name="Passages").click()
    page.get_by_role("button", name="Open passage").first.click()
    page.get_by_test_id("passage").locator("mark").get_by_text("euros a month").wait_for()
    assert page.locator("main img[src=x], section img[src=x]").count() == 0
    assert page.get_by_test_id("stException").count() == 0
    assert page.leaving == []
