"""On-chip buffers that are not multiples of hardware tiles: what lies past their end never reaches a result.

Element-wise work leaves anything there, and stores write it to padding. Reductions and the summed dimension of products
would see it: there it is replaced by a neutral element.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...formats import TILE
from .expressions import Block, BlockTile, Choose, Constant, IndexTile, TileExpr, Unary
from .statements import Branch, Gemm, Load, Loop, Map, Reduce, Statement, Store, TileProgram, sets, walk

_NEUTRAL = {"sum": 0.0, "abssum": 0.0, "max": float("-inf"), "min": float("inf"), "absmax": 0.0}


def neutralise(program: TileProgram) -> TileProgram:
    """``program`` with its reductions and products applied to buffers whose padding is neutral."""
    reduced = {s.src for s in walk((program.tile_loop,)) if isinstance(s, Reduce)}
    relevant = [block for block in program.blocks if not block.is_vector or block.name in reduced]
    if all(block.width % TILE == 0 and (block.is_vector or block.height % TILE == 0) for block in relevant):
        return program
    work = _Neutralising(program)
    loop = replace(program.tile_loop, body=work.statements(program.tile_loop.body))
    return replace(program, blocks=(*program.blocks, *work.made.values()), tile_loop=loop)


@dataclass
class _Neutralising:
    program: TileProgram
    made: dict[str, Block] = field(default_factory=dict)

    def __post_init__(self) -> None:
        statements = walk((self.program.tile_loop,))
        self.written = {s.target.tensor for s in statements if isinstance(s, Store)}
        self.setting: dict[str, list[Statement]] = {}
        for statement in statements:
            name = sets(statement)
            if name is not None:
                self.setting.setdefault(name, []).append(statement)

    def statements(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """``body`` with a neutralised copy in front of every statement that needs one."""
        out: list[Statement] = []
        for statement in body:
            if isinstance(statement, Loop):
                out.append(replace(statement, body=self.statements(statement.body)))
            elif isinstance(statement, Branch):
                then, otherwise = self.statements(statement.then), self.statements(statement.otherwise)
                out.append(replace(statement, then=then, otherwise=otherwise))
            elif isinstance(statement, Gemm):
                a = self._inside(out, statement.a, 0 if statement.transpose_a else 1, 0.0, statement)
                b = self._inside(out, statement.b, 1 if statement.transpose_b else 0, 0.0, statement)
                out.append(replace(statement, a=a, b=b))
            elif isinstance(statement, Reduce):
                # A vector's elements are numbered as if they were columns, however it lies.
                axis = 1 if statement.axis is None else statement.axis
                source = self._inside(out, statement.src, axis, _NEUTRAL[statement.op], statement)
                out.append(replace(statement, src=source))
            else:
                out.append(statement)
        return tuple(out)

    def _inside(self, out: list[Statement], name: str, axis: int, neutral: float, user: Gemm | Reduce) -> str:
        """The buffer that holds ``name`` inside its end along ``axis`` and ``neutral`` past it."""
        block = self.program.block(name)
        end = (block.height, block.width)[axis]
        if end % TILE == 0 or (neutral == 0.0 and self._padded_with_zeros(name, ())):
            return name
        inside = f"{name}_{'rows' if axis == 0 else 'columns'}_inside"
        self.made[inside] = replace(block, name=inside)
        past = Unary("gez", IndexTile(int(axis == 0), int(axis == 1), f"-{end}"))
        value: TileExpr = Choose(past, Constant(neutral), BlockTile(name))
        out.append(Map(inside, value, user.location))
        return inside

    def _padded_with_zeros(self, name: str, asked: tuple[str, ...]) -> bool:
        """Whether all that ``name`` ever holds was loaded from tensors that no kernel writes: their padding is zero."""
        for statement in self.setting.get(name, []):
            if isinstance(statement, Load) and statement.source.tensor not in self.written:
                continue
            copied = _copied_whole(statement)
            if copied is None or copied in asked or not self._padded_with_zeros(copied, (*asked, name)):
                return False
        return True


def _copied_whole(statement: Statement) -> str | None:
    """The buffer that ``statement`` copies whole into another, its padding included."""
    if not isinstance(statement, Map) or statement.part is not None or not isinstance(statement.value, BlockTile):
        return None
    value = statement.value
    return value.block if value == BlockTile(value.block, transposed=value.transposed) else None
