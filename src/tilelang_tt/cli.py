"""The ``tilelang-tt`` command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from .errors import TTError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 2 for an input that was refused, with the error on stderr."""
    parser = argparse.ArgumentParser(prog="tilelang-tt", description="TileLang kernels on Tenstorrent chips")
    commands = parser.add_subparsers(dest="command", required=True)
    explain = commands.add_parser("explain", help="why a saved program is partitioned as it is")
    explain.add_argument("directory", help="a directory written by Program.save")
    explain.add_argument("--json", action="store_true", help="print plain values instead of text")
    plot = commands.add_parser("plot", help="a picture of a saved program's partition on its device")
    plot.add_argument("directory", help="a directory written by Program.save")
    plot.add_argument("picture", help="the file to write, .svg or .png")
    plot.add_argument("--by", choices=("tiles", "bytes"), default="tiles", help="what colours the cores")
    given = parser.parse_args(arguments)
    try:
        if given.command == "plot":
            return _plot(given.directory, given.picture, given.by)
        return _explain(given.directory, as_json=given.json)
    except TTError as error:
        print(error, file=sys.stderr)
        return 2


def _explain(directory: str, *, as_json: bool) -> int:
    from .program import saved

    explanation = saved.load(directory).explain()
    print(json.dumps(explanation.to_dict(), indent=1) if as_json else explanation)
    return 0


def _plot(directory: str, picture: str, by: str) -> int:
    from .plot import core_map, save
    from .program import saved

    programs = [launch.program for launch in saved.load(directory).launches]
    plans = [program.explain().chosen for program in programs]
    save(core_map([(plan.name, plan) for plan in plans], programs[0].spec.device, by), picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
