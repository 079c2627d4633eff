"""Compiles the emulator and a program's kernels with the system's C++ compiler, and keeps the results in a cache.

Everything that a result depends on is in its name, so that a cached file is always right; files appear under their name
only when they are complete, so that any number of processes may share the cache. ``TILELANG_TT_CACHE`` names another
directory than the user's cache, ``CXX`` another compiler than g++.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import platformdirs

from ...errors import Code, ExecutionError
from ...program.spec import KernelSpec, ProgramSpec

CXX_DIR = Path(__file__).parent / "cxx"
# Contraction to fused multiply-add would make results depend on the machine; matmul.h allows it where it cannot.
HOST_FLAGS = ("-std=c++20", "-O3", "-ffp-contract=off", "-rdynamic", "-pthread", "-U_FORTIFY_SOURCE")
# Kernels only steer; the work on tiles is the emulator's. The chip's compiler takes C++17.
KERNEL_FLAGS = ("-std=gnu++17", "-O1", "-g1", "-fPIC", "-shared", "-Wno-int-to-pointer-cast")


def cache_directory() -> Path:
    """Where compiled files are kept."""
    override = os.environ.get("TILELANG_TT_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("tilelang-tt")


def build(spec: ProgramSpec, sources: Mapping[str, str]) -> tuple[Path, list[Path]]:
    """The emulator's executable and the object of each of the program's kernels, compiled where the cache lacks them.

    Raises :class:`ExecutionError` (``toolchain``) without a C++ compiler, and with the compiler's message when it
    rejects a kernel.
    """
    compiler = find_compiler()
    jobs = [_kernel_job(spec, kernel, sources[kernel.source], compiler) for kernel in spec.kernels]
    objects = [job[0] for job in jobs]
    host = _host_path(compiler)
    missing = [job for job in jobs if not job[0].exists()]
    if missing or not host.exists():
        with ThreadPoolExecutor(len(missing) + 1) as pool:
            tasks = [pool.submit(_compile, compiler, *job) for job in missing]
            _build_host(compiler, host)
            for task in tasks:
                task.result()
    return host, objects


def find_compiler() -> str:
    """The path of the C++ compiler. Raises :class:`ExecutionError` (``toolchain``) if there is none."""
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise ExecutionError(
        Code.TOOLCHAIN,
        "the emulator needs a C++ compiler and found none",
        found="no g++, c++ or clang++ on the PATH",
        hint="install g++ (Debian: apt install g++), or set CXX to a C++ compiler",
    )


@lru_cache(maxsize=8)
def _compiler_identity(compiler: str) -> str:
    result = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return f"{compiler}\n{result.stdout}"


@lru_cache(maxsize=1)
def _machine_identity() -> str:
    # What -march=native means: the machine and its instruction set extensions.
    try:
        flags = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        flags = None
    return platform.machine() + (flags.group() if flags else platform.processor())


@lru_cache(maxsize=1)
def _headers_digest() -> dict[str, str]:
    """A digest of the headers that kernels see, and one of the emulator itself."""
    digests = {}
    for part, folders in (("kernel", ("include",)), ("host", ("host",))):
        digest = hashlib.sha256((CXX_DIR / "abi.h").read_bytes())
        for folder in folders:
            for path in sorted((CXX_DIR / folder).rglob("*")):
                if path.is_file():
                    digest.update(str(path.relative_to(CXX_DIR)).encode() + b"\0" + path.read_bytes() + b"\0")
        digests[part] = digest.hexdigest()
    return digests


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:32]


def _host_path(compiler: str) -> Path:
    key = _key(_headers_digest()["host"], _compiler_identity(compiler), HOST_FLAGS, _machine_identity())
    return cache_directory() / f"emulator-{key}"


def _build_host(compiler: str, target: Path) -> None:
    if target.exists():
        return
    source = str(CXX_DIR / "host" / "main.cpp")
    libraries = ["-ldl"]
    try:
        _compile(compiler, target, [*HOST_FLAGS, "-march=native", source, *libraries], None, "the emulator")
    except ExecutionError:
        # Not every compiler knows the machine it runs on.
        _compile(compiler, target, [*HOST_FLAGS, source, *libraries], None, "the emulator")


def _kernel_job(
    spec: ProgramSpec, kernel: KernelSpec, source: str, compiler: str
) -> tuple[Path, list[str], tuple[str, str], str]:
    names = [tensor.name for tensor in spec.tensors]
    numbers = "".join(f"{names.index(name)}," for name in kernel.accessors)
    named = "".join(f'{{"{name}",{value & 0xFFFFFFFF}u}},' for name, value in kernel.named_args.items())
    defines = [
        f"-DKERNEL_COMPILE_TIME_ARGS={numbers}",
        f"-DKERNEL_COMPILE_TIME_ARG_MAP={named}",
        f"-DARCH_{spec.device.arch.upper()}",
    ]
    if kernel.role == "compute":
        fp32 = kernel.compute is None or kernel.compute.fp32_dest_acc
        defines += ["-DEMU_COMPUTE_KERNEL", f"-DEMU_FP32_DEST={'true' if fp32 else 'false'}"]
    else:
        # Reads belong on NoC 0 and writes on NoC 1, as the chip's reader and writer configurations have it.
        defines.append(f"-DEMU_NOC_INDEX={0 if kernel.role == 'reader' else 1}")
    flags = [*KERNEL_FLAGS, f"-I{CXX_DIR / 'include'}", f"-I{CXX_DIR}", *defines]
    name = Path(kernel.source).name
    key = _key(_headers_digest()["kernel"], _compiler_identity(compiler), KERNEL_FLAGS, defines, name, source)
    return cache_directory() / f"{Path(name).stem}-{key}.so", flags, (name, source), f"{kernel.role} kernel {name}"


def _compile(compiler: str, target: Path, flags: list[str], source: tuple[str, str] | None, what: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExecutionError(
            Code.TOOLCHAIN,
            f"the directory for compiled kernels cannot be made: {error}",
            subject=str(target.parent),
            hint="set TILELANG_TT_CACHE to a directory that can be written",
        ) from error
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder:
        command = [compiler, *flags]
        if source is not None:
            # Compiled in its own directory under its own name: that name is what errors and debuggers show.
            (Path(folder) / source[0]).write_text(source[1])
            command.append(source[0])
        result = subprocess.run(
            [*command, "-o", "result"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != 0:
            raise ExecutionError(
                Code.TOOLCHAIN,
                f"the C++ compiler rejects {what}\n{result.stderr.strip()}",
                subject=source[0] if source else None,
                found=f"{Path(compiler).name} ended with status {result.returncode}",
            )
        os.replace(Path(folder) / "result", target)
