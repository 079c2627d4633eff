"""Compiles and runs TileLang's own examples, unchanged, on the emulator: ``python tests/corpus/run.py [--only TEXT]``.

Downloads the examples once, see source.py; kernels.toml says what of them is run. Every kernel runs in a process of its
own. Without ``--only`` writes docs/corpus.md.
"""

import argparse
import fnmatch
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import report
import tomllib
from case import outcome
from source import examples

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = tomllib.loads((HERE / "kernels.toml").read_text())


@dataclass(frozen=True)
class Result:
    """What became of one kernel, or of a file without any."""

    file: str
    kernel: str
    state: str
    words: str = ""
    code: str = ""
    error: float | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only files whose name contains this")
    parser.add_argument("--compile-only", action="store_true", help="run nothing")
    parser.add_argument("--seconds", type=float, default=240, help="time limit of a kernel")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    directory = examples()
    cases = [case for case in TABLE["kernel"] if arguments.only in case["file"]]
    # Children are forked with torch and TileLang imported, a thread each: several run at once.
    os.environ["OMP_NUM_THREADS"] = "1"
    found = {}
    for number, result in run_all(directory, cases, arguments):
        found[number] = result
        print(f"{result.state:8} {result.file}: {result.kernel.split('(')[0]} {result.code} {result.words}", flush=True)
    results = [found[number] for number in range(len(cases))]
    if not arguments.only and not arguments.compile_only:
        results += without_kernels(directory, {case["file"] for case in cases})
        (ROOT / "docs" / "corpus.md").write_text(report.page(results))
    print(report.summary(results))
    return 0


@dataclass
class Running:
    """A child process at work on case ``number``."""

    number: int
    process: multiprocessing.Process
    answer: multiprocessing.connection.Connection
    end: float


def run_all(directory: Path, cases: list[dict], arguments) -> Iterator[tuple[int, Result]]:
    """(number, result) of every case, as they are over: each in a child process with a time limit."""
    waiting = list(enumerate(cases))
    running: list[Running] = []
    while waiting or running:
        while waiting and len(running) < arguments.jobs:
            number, case = waiting.pop(0)
            if "gpu_only" in case:
                yield number, Result(case["file"], case["kernel"], "gpu", case["gpu_only"])
                continue
            running.append(start(number, directory / case["file"], case, arguments))
        multiprocessing.connection.wait([child.answer for child in running], timeout=1)
        for child in list(running):
            result = ended(child, cases[child.number], arguments.seconds)
            if result is not None:
                running.remove(child)
                yield child.number, result


def start(number: int, path: Path, case: dict, arguments) -> Running:
    """A child process at work."""
    context = multiprocessing.get_context("fork")
    answer, end = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(path, case, not arguments.compile_only, end), daemon=True)
    process.start()
    end.close()
    return Running(number, process, answer, time.monotonic() + arguments.seconds)


def work(path: Path, case: dict, run: bool, answer) -> None:
    """What a child process does."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    answer.send(outcome(path, case, run=run))
    answer.close()
    os._exit(0)


def ended(child: Running, case: dict, seconds: float) -> Result | None:
    """The result of a child that is over, or was ended now."""
    result = {"state": "timeout", "words": f"not over after {seconds:g} s"}
    if child.answer.poll():
        try:
            result = child.answer.recv()
        except EOFError:
            result = {"state": "crashed", "words": "the process ended"}
    elif time.monotonic() < child.end:
        return None
    child.process.kill()
    child.process.join()
    return Result(case["file"], case["kernel"], **result)


def without_kernels(directory: Path, covered: set[str]) -> list[Result]:
    """The files that no kernel of the table is of, with the reason."""
    results = []
    for path in sorted(directory.rglob("*.py")):
        file = path.relative_to(directory).as_posix()
        if file in covered:
            continue
        for kind, state in (("no_kernel", "none"), ("gpu_only", "gpu")):
            reasons = [reason for pattern, reason in TABLE[kind].items() if fnmatch.fnmatch(file, pattern)]
            if reasons:
                results.append(Result(file, "", state, reasons[0]))
                break
        else:
            results.append(Result(file, "", "missing", "not in the table"))
    return results


if __name__ == "__main__":
    sys.exit(main())
