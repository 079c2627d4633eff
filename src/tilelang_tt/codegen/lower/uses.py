"""Who reads and writes what, in the whole of a tile program."""

from __future__ import annotations

from collections.abc import Sequence

from ..tile_program.expressions import BlockTile, TensorBlock, TensorTile, TileExpr, operands
from ..tile_program.liveness import stays_in_its_scope
from ..tile_program.statements import Gemm, Load, Loop, Map, Reduce, Statement, Store, TileProgram, reads, sets, walk
from .context import Context


class Uses:
    """What lowering asks of the program as a whole.

    Attributes:
        read_transposed: buffers that are the transposed second operand of a product.
        only_stored: buffers that are read once, by a store of them as they are: name -> that store.
        reads_of: how many times what a statement (by its id) computes is read.
        written: the tensors that are written.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        statements = walk((ctx.program.tile_loop,))
        self.read_transposed = {s.b for s in statements if isinstance(s, Gemm) and s.transpose_b}
        self.only_stored = _only_stored(ctx.program)
        self.reads_of = _reads_of_results(ctx)
        self.written = {s.target.tensor for s in statements if isinstance(s, Store)}

    def passes_through(self, name: str) -> bool:
        """Whether what is loaded into ``name`` goes to a tensor as it is: the compute kernel has no part in it."""
        store = self.only_stored.get(name)
        if store is None or store.target.tensor in self.ctx.shards:
            return False
        setting = [s for s in walk((self.ctx.program.tile_loop,)) if sets(s) == name]
        loads = [s for s in setting if isinstance(s, Load)]
        if len(loads) != 1 or len(setting) != 1 or not stays_in_its_scope(self.ctx.program, loads[0], store):
            return False
        if store.target.picked or loads[0].source.picked:
            return False
        formats = {self.ctx.staging[tensor].data_format for tensor in (loads[0].source.tensor, store.target.tensor)}
        if self.ctx.holds_integers(name) != (formats == {"Int32"}):
            return False
        return len(formats) == 1 and loads[0].source.tensor not in self.ctx.shards


def loaded_in(outer: Statement) -> list[str]:
    """The names of the circular buffers that ``outer``, or the bodies of it, bring blocks of tensors to."""
    names: list[str] = []
    for statement in walk((outer,)):
        if isinstance(statement, Load):
            names.append(statement.dst)
        elif isinstance(statement, (Map, Store)):
            names += direct_names(statement.value).values()
    return list(dict.fromkeys(names))


def direct_names(value: TileExpr) -> dict[TensorBlock, str]:
    """The blocks of tensors that an expression reads without a copy, left to right, with what the circular buffer of
    each is called after."""
    names: dict[TensorBlock, str] = {}
    for leaf in operands(value):
        if isinstance(leaf, TensorTile) and leaf.source not in names:
            name = f"{leaf.source.tensor}_direct_{leaf.source.rows}x{leaf.source.cols}"
            number = sum(_of_one_kind(leaf.source, other) for other in names)
            names[leaf.source] = f"{name}_{number + 1}" if number else name
    return names


def _of_one_kind(a: TensorBlock, b: TensorBlock) -> bool:
    return (a.tensor, a.rows, a.cols) == (b.tensor, b.rows, b.cols)


def _reads_of_results(ctx: Context) -> dict[int, int]:
    """How many times what each statement computes is read before its buffer is set again; that a loop carries it counts
    as once, whoever reads it then."""
    statements = walk(ctx.program.tile_loop.body)
    counts = {
        id(statement): _readings(str(sets(statement)), statements[at + 1 :])
        for at, statement in enumerate(statements)
        if isinstance(statement, (Map, Gemm, Reduce))
    }
    for loop in statements:
        if isinstance(loop, Loop):
            for name in ctx.liveness.carried(loop):
                at = max((at for at, statement in enumerate(loop.body) if sets(statement) == name), default=None)
                if at is not None:
                    counts[id(loop.body[at])] = 1 + _readings(name, walk(loop.body[at + 1 :]))
    return counts


def _readings(name: str, statements: Sequence[Statement]) -> int:
    """How many times the first of ``statements`` read ``name``, up to the one that sets it."""
    count = 0
    for statement in statements:
        count += reads(statement).count(name)
        if sets(statement) == name:
            break
    return count


def _only_stored(program: TileProgram) -> dict[str, Store]:
    """Buffers that are read once in the whole kernel, by a store of them as they are: name -> that store."""
    statements = walk((program.tile_loop,))
    read = [name for s in statements for name in reads(s) if not (isinstance(s, Gemm) and name == s.c)]
    return {
        s.value.block: s
        for s in statements
        if isinstance(s, Store)
        and isinstance(s.value, BlockTile)
        and s.value == BlockTile(s.value.block)
        and read.count(s.value.block) == 1
    }
