"""Program source stays as it is written, with its definitions as headings."""

from __future__ import annotations

import time

import pytest

from ingest.parse import parse
from kernel.types import Parsed

PYTHON = '''"""A module.

class NotOne: in words.
"""

import os


@cache
@given(
    st.text(),
)
def first(x: int) -> str:
    def inner() -> None: ...
    return """
def not_this(): pass
"""


class Reader(Base):
    """Reads."""

    limit = 3

    # How to open it.
    @property
    async def open(self) -> None:
        if self:
            pass

    last = 4


if __name__ == "__main__":
    first(1)
'''


def outline(source: str, name: str) -> list[tuple[int, str, str]]:
    parsed = parse(source.encode(), name)
    assert_exact(parsed, source)
    return [(h.level, h.title, parsed.text[h.start :].split("\n")[0]) for h in parsed.headings]


def assert_exact(parsed: Parsed, source: str) -> None:
    assert parsed.text == source
    assert parsed.media_type.startswith("text/x-source")
    starts = {0} | {n + 1 for n, c in enumerate(source) if c == "\n"}
    assert all(h.start in starts for h in parsed.headings)
    covered = "".join(source[start:end] for start, end in parsed.blocks)
    assert covered.split() == source.split(), "the blocks hold everything"


def test_classes_functions_and_methods_of_python_are_headings() -> None:
    assert outline(PYTHON, "tool.py") == [
        (1, "first", "@cache"),
        (1, "Reader", "class Reader(Base):"),
        (2, "open", "    # How to open it."),
        (1, "Reader", "    last = 4"),
        (1, "tool", 'if __name__ == "__main__":'),
    ]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        (
            "a.c",
            "#include <x.h>\n\nstruct point { int x; };\n\n/* Adds. */\nstatic int\nadd(int a)\n{\n#if X\n"
            "    f(a);\n#endif\nout:\n    return a;\n}\n\nint main(void) {\n    add(1);\n}\n",
            [(1, "point"), (1, "add"), (1, "main")],
        ),
        (
            "A.java",
            "/** Doc. */\n@Foo(\n  bar = 1\n)\npublic class A {\n    int x = f(1);\n"
            "    public A(int x) { this.x = x; }\n"
            '    @Override\n    String name() throws E {\n        if (x) { return "class B {"; }\n    }\n}\n',
            [(1, "A"), (2, "A"), (2, "name")],
        ),
        (
            "a.ts",
            "export interface Foo { a: string }\nexport const bar = async (x: number) => {\n  return x;\n};\n"
            "export default class Baz {\n  constructor(private a: string) {\n    super();\n  }\n"
            "  async run<T>(x: T): Promise<void> {\n    this.call(x);\n  }\n}\nfunction helper() { return 1; }\n",
            [(1, "Foo"), (1, "bar"), (1, "Baz"), (2, "constructor"), (2, "run"), (1, "helper")],
        ),
        (
            "a.go",
            "package a\n\ntype P struct {\n\tX int\n}\n\n// Get it.\nfunc (p *P) Get() int {\n\treturn p.X\n}\n",
            [(1, "P"), (1, "Get")],
        ),
        (
            "a.rs",
            "#[derive(Debug)]\npub struct A { x: u8 }\nimpl fmt::Display for A {\n"
            "    /// doc\n    fn fmt(&self) {\n    }\n}\n",
            [(1, "A"), (1, "A"), (2, "fmt")],
        ),
        (
            "a.rb",
            "module M\n  class A\n    def self.x(a)\n      a\n    end\n  end\nend\n",
            [(1, "M"), (2, "A"), (3, "x")],
        ),
        ("a.sql", "CREATE TABLE t (\n  a int\n);\nCREATE VIEW v AS SELECT 1;\n", [(1, "t"), (1, "v")]),
        ("a.yaml", "a: 1\nb:\n  - c\n", []),
    ],
)
def test_definitions_of_other_languages_are_headings(name: str, source: str, expected: list[tuple[int, str]]) -> None:
    assert [(level, title) for level, title, _ in outline(source, name)] == expected


def test_a_program_without_a_suffix_is_told_by_its_first_line() -> None:
    assert outline("#!/usr/bin/env python3\ndef main():\n    pass\n", "tool") == [(1, "main", "def main():")]


def test_a_program_with_errors_reads_as_well() -> None:
    assert [title for _, title, _ in outline("def a(:\n  x = (\nclass B\n  def c(self)\n", "a.py")] == ["a", "B", "c"]


@pytest.mark.parametrize("source", ["a " * 50_000 + "(", "x" * 300_000, "def f(" + "(" * 5_000, "impl " + "a " * 2_000])
def test_no_file_makes_it_hang(source: str) -> None:
    started = time.perf_counter()
    for name in ("a.py", "a.c", "a.ts", "a.rs"):
        assert parse(source.encode(), name).text == source
    assert time.perf_counter() - started < 10
