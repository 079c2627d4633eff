# TVM ships inside TileLang, off the import path until TileLang is imported, and without type information.
from typing import Any

def __getattr__(name: str) -> Any: ...
