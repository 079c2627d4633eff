"""Saved programs on a device against numpy: the end-to-end numerics of the compiler, in both modes."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("device_worker.py")
START_SECONDS = 300
RUN_SECONDS = 600


class Worker:
    """A process with the device open. Started again when a program took it down."""

    def __init__(self, log):
        self.log = log
        self.process = None
        self.device = {}

    def ask(self, case):
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.process.stdin.write(f"{case}\n")
        return self.answer(RUN_SECONDS)

    def start(self):
        self.stop()
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(write)],
            stdin=subprocess.PIPE,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            pass_fds=[write],
            # ttnn writes into the directory it is started in.
            cwd=self.log.parent,
        )
        os.close(write)
        self.results = os.fdopen(read)
        self.device = self.answer(START_SECONDS)
        assert "arch" in self.device, self.device["failure"]

    def answer(self, seconds):
        ready, _, _ = select.select([self.results], [], [], seconds)
        line = self.results.readline() if ready else ""
        if line:
            return json.loads(line)
        if not ready:
            self.process.kill()
        status = self.process.wait()
        what = f"ended with status {status}" if ready else f"did not answer in {seconds} seconds"
        # Without the lines of C++ stacks, which are long and say little.
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if not line.startswith(" --- ")]
        tail = "\n".join(lines[-15:])
        return {"failure": f"the device's process {what}\n{tail}"}

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.results.close()
            self.process = None


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(tmp_path_factory.mktemp("device") / "log")
    worker.start()
    yield worker
    worker.stop()


def stops_the_simulator(case, arch):
    """Whether the simulated chip, not the real one, stops at this program: Wormhole's at unpacking int32."""
    unpacked = []
    for program in programs_of(case):
        kernel = (program / "kernels" / "compute.cpp").read_text()
        buffers = json.loads((program / "program.json").read_text())["circular_buffers"]
        unpacked += [b for b in buffers if b["data_format"] == "Int32" and f"copy_tile({b['name']}, " in kernel]
    return arch == "wormhole" and "TT_METAL_SIMULATOR" in os.environ and unpacked


def programs_of(case):
    """The directories of the program, or of those of all grids."""
    return [path.parent for path in sorted((case / "program").rglob("program.json"))]


def test_program(case, worker):
    compiled_for = json.loads((programs_of(case)[0] / "program.json").read_text())["device"]["arch"]
    if compiled_for != worker.device["arch"]:
        pytest.skip(f"compiled for {compiled_for}, the device is a {worker.device['arch']}")
    if stops_the_simulator(case, compiled_for):
        pytest.skip("the simulated Wormhole cannot unpack int32")
    result = worker.ask(case.resolve())
    assert "failure" not in result, result["failure"]
    for name, error in result["errors"].items():
        assert error <= result["tolerance"], f"{name}: error {error:.3g} of the largest element, but for rounding"
    assert result["repeatable"]
    assert result["compiled_again"] == 0
