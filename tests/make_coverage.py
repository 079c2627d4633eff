"""Writes docs/coverage.md from what the tests of the tile language register: ``python tests/make_coverage.py``."""

import importlib
import re
import sys
from pathlib import Path

TABLE = Path(__file__).parent.parent / "docs" / "coverage.md"
SECTIONS = (
    "Copies", "Updates", "Products", "Reductions", "Vectors", "Expressions", "Integers", "Conditions", "Loops",
    "Tensors", "Packed tensors", "Edges", "Sizes known at launch", "Threads",
)  # fmt: skip
HEAD = """# What of the tile language compiles

Written by `python tests/make_coverage.py` from the tests of the tile language in `tests/`, where a kernel for each
supported construct is held against torch on the emulator, and each refusal to its words.
`examples/gallery/` has whole kernels. Anything else is refused too, by the construct's name and line.
"""


def table() -> str:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if re.search(r"^from constructs import .*\b(supported|refused)\b", path.read_text(), re.MULTILINE):
            importlib.import_module(path.stem)  # registers its rows
    from constructs import ROWS

    lines = [HEAD]
    for section in SECTIONS:
        own = (row for row in ROWS if row.section == section)
        rows = sorted(own, key=lambda row: (row.words is not None, row.module))
        if rows:
            lines += [f"## {section}", "", "| construct | |", "|---|---|"]
            lines += [f"| {row.construct} | {verdict(row)} |" for row in rows] + [""]
    unknown = {row.section for row in ROWS} - set(SECTIONS)
    assert not unknown, unknown
    return "\n".join(lines)


def verdict(row) -> str:
    return "supported" if row.words is None else f"refused: “{row.words}”"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    TABLE.write_text(table())
