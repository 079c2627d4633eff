"""TileLang's own examples: the source distribution that holds them, downloaded once and checked by its hash."""

import hashlib
import tarfile
import urllib.request
from pathlib import Path

import platformdirs

VERSION = "0.1.14"
URL = (
    "https://files.pythonhosted.org/packages/98/b6/b2a79ca220c63f0ec43ece86c0a37f92af9e22261b13951e58700b008a2b/"
    f"tilelang-{VERSION}.tar.gz"
)
SHA256 = "7ae0fba6c63dae80b3c9c5c11a70bb8d7165794994f290f36e2fe87bfb143cfc"


def examples() -> Path:
    """The directory of the examples, in the user's cache; about 90 MB are downloaded the first time."""
    cache = Path(platformdirs.user_cache_dir("tilelang-tt")) / "corpus"
    directory = cache / f"tilelang-{VERSION}" / "examples"
    if not directory.exists():
        _extract(_archive(cache), cache)
    return directory


def _archive(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / URL.rsplit("/", 1)[1]
    if not archive.exists():
        partial = archive.with_suffix(".part")
        urllib.request.urlretrieve(URL, partial)
        partial.rename(archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        archive.unlink()
        raise SystemExit(f"{URL} has the hash {found}, not {SHA256}")
    return archive


def _extract(archive: Path, cache: Path) -> None:
    with tarfile.open(archive) as tar:
        wanted = [member for member in tar if "/examples/" in member.name and member.name.endswith(".py")]
        tar.extractall(cache, wanted, filter="data")
