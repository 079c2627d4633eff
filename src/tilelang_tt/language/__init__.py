"""The front of the compiler: annotations on TileLang functions, and reading what a kernel does from its TIR."""

from .annotate import annotate_tt_layout, annotate_tt_schedule

__all__ = ["annotate_tt_layout", "annotate_tt_schedule"]
