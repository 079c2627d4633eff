"""Blocks of tensors that are picked by computed indices: each row of elements is made of pieces that lie anywhere."""

from __future__ import annotations

from dataclasses import dataclass

ROW, PIECE = "i", "j"
"""The C++ names of the numbers of a row of elements, and of a piece in it."""


@dataclass(frozen=True)
class Element:
    """``var`` = the element (``row``, ``col``) of an int32 tile, ``page`` of a tensor; 0 unless ``inside``.

    All are C++ expressions.
    """

    var: str
    tensor: str
    page: str
    row: str
    col: str
    inside: str | None = None


@dataclass(frozen=True)
class Gathered:
    """``height`` x ``width`` elements, in pieces of ``piece`` elements of one row.

    Piece ROW, PIECE begins at element (``row``, ``col``) of ``page``, of the same row there; it is zeros unless
    ``inside``. These are C++ expressions of ROW, PIECE and ``elements``, which are read first.
    """

    height: int
    width: int
    piece: int
    elements: tuple[Element, ...]
    page: str
    row: str
    col: str
    inside: str | None

    @property
    def pieces(self) -> int:
        """Pieces of a row."""
        return self.width // self.piece
