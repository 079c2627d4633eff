"""The results of the corpus as text, and as docs/corpus.md."""

import re
from collections import Counter

from source import VERSION

WORDS = {
    "right": "right",
    "wrong": "wrong",
    "ran": "ran, not compared",
    "fault": "stopped when it ran",
    "timeout": "not over in time",
    "compiled": "compiled, not run",
    "refused": "refused",
    "crashed": "ended without an error of this package",
    "broken": "not made by TileLang here: its function asks for a GPU",
    "needs": "not importable here",
}
"""What may become of a kernel that has a meaning on Tenstorrent."""


def counted(results):
    return [result for result in results if result.state in WORDS]


def summary(results) -> str:
    """The totals in a few lines."""
    kernels = counted(results)
    states = Counter(result.state for result in kernels)
    compiled = sum(states[state] for state in ("right", "wrong", "ran", "fault", "timeout", "compiled"))
    made = len(kernels) - states["needs"] - states["broken"]
    ran = compiled - states["fault"] - states["timeout"] - states["compiled"]
    lines = [f"Of {made} kernels that TileLang makes here {compiled} compile, {ran} run, {states['right']} are right."]
    lines += [f"  {states[state]:4} {words}" for state, words in WORDS.items() if states[state]]
    return "\n".join(lines)


def page(results) -> str:
    """docs/corpus.md."""
    kernels = counted(results)
    refused = Counter(_reason(r) for r in kernels if r.state in ("refused", "fault"))
    lines = [
        "# TileLang's own examples",
        "",
        f"Written by `make corpus`: the kernels of `examples/` in TileLang {VERSION}'s source distribution, their",
        "functions unchanged, compiled with small shapes (`tests/corpus/kernels.toml`), run on the emulator and",
        "compared with torch: every element within 1e-2 of itself and 4e-3 of the largest. What has no meaning on",
        "Tenstorrent is listed at the end and not counted.",
        "",
        "```",
        summary(results),
        "```",
        "",
        "## Reasons",
        "",
        "| kernels | refusal |",
        "|---:|---|",
        *(f"| {count} | {reason} |" for reason, count in refused.most_common()),
        "",
        "## Kernels",
        "",
        "| example | kernel | |",
        "|---|---|---|",
        *(f"| `{r.file}` | `{_shown(r.kernel)}` | {_outcome(r)} |" for r in kernels),
        "",
        "## For GPUs only",
        "",
        "| example | what it is made of |",
        "|---|---|",
        *(f"| {_place(r)} | {r.words} |" for r in results if r.state == "gpu"),
        "",
        "## No kernel",
        "",
        ", ".join(f"`{r.file}`" for r in results if r.state == "none") + ".",
    ]
    missing = [f"`{r.file}`" for r in results if r.state == "missing"]
    if missing:
        lines += ["", "## Not in the table", "", ", ".join(missing) + "."]
    return "\n".join(lines) + "\n"


def _reason(result) -> str:
    """A refusal without the names in it."""
    words = re.sub(
        r"\b(tensor|buffer|of|parameter|onto|from|to|reads|vector) [A-Za-z_]\w*\b(?= )", r"\1 …", result.words
    )
    words = re.sub(r"^[A-Za-z_]\w* (?=is |holds |are )", "… ", words)
    return f"`{result.code}` {words}"


def _outcome(result) -> str:
    if result.state == "right":
        return f"right (largest error {result.error:.1e})"
    if result.state == "refused":
        return f"refused, `{result.code}`: {result.words}"
    return f"{WORDS[result.state]}: {result.code} {result.words}".replace(":  ", ": ")


def _shown(call: str) -> str:
    return call if len(call) < 90 else call[:86] + "...)"


def _place(result) -> str:
    return f"`{result.file}`" + (f", `{result.kernel.split('(')[0]}`" if result.kernel else "")
