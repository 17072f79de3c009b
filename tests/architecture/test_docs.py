"""Documentation that cannot go stale unseen: links lead somewhere, commands exist, the changelog is kept."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```+|~~~+)(\S*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(reprise [^`\n]+)`(?!`)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FOREIGN = ("/" + "work/", "../" + "shared")
"""Folders of the machine on which the project was made; spelled so that this file does not name them."""


def pages(root: Path) -> list[Path]:
    """What people read. `docs/demo` is data: pages as they were before a change."""
    beside = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    docs = [page for page in sorted((root / "docs").rglob("*.md")) if root / "docs" / "demo" not in page.parents]
    return [page for page in (*beside, *docs) if page.is_file()]


def test_every_relative_link_leads_somewhere(root: Path) -> None:
    broken = []
    for page in pages(root):
        text = page.read_text()
        for match in LINK.finditer(_without_code(text)):
            target, _, anchor = (match[1] or match[2]).partition("#")
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            there = (page.parent / target).resolve() if target else page
            if not there.exists():
                broken.append(f"{page.relative_to(root)}: {target}")
            elif anchor and there.suffix == ".md" and anchor not in _anchors(there.read_text()):
                broken.append(f"{page.relative_to(root)}: {target}#{anchor}")
    assert not broken


def test_every_command_in_a_code_block_exists_with_its_options(root: Path, parses: Callable[[str], None]) -> None:
    wrong, checked = [], 0
    for page in pages(root):
        for line in _commands(page.read_text()):
            checked += 1
            try:
                parses(line)
            except Exception as error:
                wrong.append(f"{page.relative_to(root)}: {line}: {getattr(error, 'message', error)}")
    assert checked > 10
    assert not wrong, "\n".join(wrong)


def test_every_command_named_in_a_sentence_exists(root: Path, parses: Callable[[str], None]) -> None:
    """In running text a command may stand without its arguments, so a missing one is no mistake there."""
    wrong = []
    for page in pages(root):
        for match in INLINE.finditer(_without_blocks(page.read_text())):
            line = match[1].replace("\\|", "|").replace("…", "").partition(" |")[0]
            try:
                parses(re.sub(r"\s*\[[^\]]*\]", "", line).partition("|")[0])
            except Exception as error:
                if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
                    wrong.append(f"{page.relative_to(root)}: {match[1]}: {getattr(error, 'message', error)}")
    assert not wrong, "\n".join(wrong)


def test_every_make_target_named_in_the_documentation_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9]+):.*##", (root / "Makefile").read_text(), re.MULTILINE))
    named = {
        (page.name, target)
        for page in pages(root)
        for target in re.findall(r"(?:^|`)make ([a-z0-9]+)", page.read_text(), re.M)
    }
    assert targets >= {
        "help",
        "setup",
        "up",
        "test",
        "lint",
        "types",
        "arch",
        "integration",
        "e2e",
        "bench",
        "demo",
        "clean",
    }
    assert not {(page, target) for page, target in named if target not in targets}


def test_the_changelog_has_an_entry_for_this_version(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    entry = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
    assert re.search(entry, (root / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_place_that_names_the_version_names_this_one(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    named = re.findall(r'^VERSION = "([^"]+)"$', (root / "ui" / "api" / "app.py").read_text(), re.MULTILINE)
    assert all(found == version for found in named)


def test_every_decision_is_listed_and_has_its_parts(root: Path) -> None:
    folder = root / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert [page.name[:4] for page in decisions] == [f"{n:04}" for n in range(1, len(decisions) + 1)]
    for page in decisions:
        assert f"({page.name})" in index, page.name
        headings = set(HEADING.findall(page.read_text()))
        assert headings >= {"Context", "Decision", "Consequences"}, page.name
        assert headings & {"Rejected", "Not taken"}, page.name


def test_every_setting_named_in_the_documentation_exists(root: Path) -> None:
    from kernel.settings import Settings

    known = {f"REPRISE_{name.upper()}" for name in Settings.model_fields} | BESIDE_THE_SETTINGS
    named = {
        (page.name, name) for page in pages(root) for name in re.findall(r"\bREPRISE_[A-Z_]+[A-Z]\b", page.read_text())
    }
    assert not {(page, name) for page, name in named if name not in known}


def test_every_setting_is_in_the_guide(root: Path) -> None:
    from kernel.settings import Settings

    page = (root / "docs" / "guide" / "settings.md").read_text()
    assert not {name for name in Settings.model_fields if f"`REPRISE_{name.upper()}`" not in page}


BESIDE_THE_SETTINGS = {"REPRISE_EVAL_DATA", "REPRISE_DEBUG", "REPRISE_LOG"}
"""Read by the tests and by the command line's error report, before or without settings."""


def test_no_file_names_a_folder_of_the_machine_it_was_made_on(root: Path, tracked: list[Path]) -> None:
    found = []
    for file in tracked:
        name = file.relative_to(root).as_posix()
        if name == ".ci/run":  # it may look for evaluation data beside the clone
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:  # a picture or an archive
            continue
        found += [f"{name}: {foreign}" for foreign in FOREIGN if foreign in text]
    assert not found


def _commands(text: str) -> Iterator[str]:
    """`reprise …` lines of shell blocks, continued ones joined, cut where a pipe or another command begins."""
    for _, language, block in FENCE.findall(text):
        if language not in ("bash", "sh", "shell", "console", ""):
            continue
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            line = re.sub(r"^\$ ", "", line.strip())
            line = re.sub(r"^(?:\w+=\S* )+", "", line)
            if line.startswith("reprise ") or line == "reprise":
                yield _until_operator(line)


def _until_operator(line: str) -> str:
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    kept: list[str] = []
    for word in words:
        if set(word) <= set("|&;<>"):
            break
        kept.append(word)
    return shlex.join(kept)


def _without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _without_blocks(text))


def _anchors(text: str) -> set[str]:
    """Anchors as GitHub makes them from headings."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(_without_blocks(text)))
    return {heading.replace(" ", "-") for heading in words}


@pytest.mark.parametrize(
    "line", ["reprise nothing", "reprise ask", "reprise documents --jsno", "reprise diff DOC one two"]
)
def test_the_check_of_commands_finds_a_wrong_one(line: str, parses: Callable[[str], None]) -> None:
    with pytest.raises(Exception, match=r".+"):
        parses(line)
