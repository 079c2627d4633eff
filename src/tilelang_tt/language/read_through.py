"""Integers that bounds, indices and conditions read from an on-chip buffer, which is a copy of a part of a tensor: they
are read from the tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm import tirx

from . import tile_ops
from .nodes import is_one_of, nodes, uses


def integers_read_through(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with elements of such tensors in place of the buffers', and without the copies that nothing reads then.

    Only where nothing but one T.copy fills the buffer, of a tensor that ``func`` does not write, and in front of all
    that reads it.
    """
    for call in nodes(func.body, tirx.Evaluate):
        op = _copy_of_integers(call)
        if op is not None and _is_the_only_source(func, op) and _goes_before(func.body, call, op):
            func = func.with_body(_without_copy(_read_through(func.body, op), op), func.span)
    return func


def _copy_of_integers(statement: tirx.Evaluate) -> tile_ops.CopyOp | None:
    """What ``statement`` copies, where that is a part of a tensor of integers to a whole on-chip buffer."""
    if not tile_ops.is_tile_op(statement.value) or tile_ops.op_name(statement.value) != "copy":
        return None
    if any(not isinstance(extent, tirx.IntImm) for region in statement.value.args[:2] for extent in region.args[2:]):
        return None
    op = tile_ops.CopyOp(*(tile_ops.region_of(region) for region in statement.value.args[:2]))
    src, dst = op.src, op.dst
    if not src.is_global or dst.is_global or str(src.buffer.dtype) != str(dst.buffer.dtype):
        return None
    moving = [[size for size in sizes if size != 1] for sizes in (src.extents, dst.extents)]
    whole = list(dst.extents) == [int(size) for size in dst.buffer.shape]
    return op if "float" not in str(src.buffer.dtype) and whole and moving[0] == moving[1] else None


def _is_the_only_source(func: tirx.PrimFunc, op: tile_ops.CopyOp) -> bool:
    """Whether nothing else writes the buffer, and nothing the tensor."""
    written = [call.args[0].buffer for call in nodes(func.body, tirx.Call) if _is_region(call) and _is_written(call)]
    written += [store.buffer for store in nodes(func.body, tirx.BufferStore)]
    into = [buffer for buffer in written if buffer.same_as(op.dst.buffer)]
    return len(into) == 1 and not is_one_of(op.src.buffer, written)


def _goes_before(body: Any, copy: tirx.Evaluate, op: tile_ops.CopyOp) -> bool:
    """Whether all that reads the buffer is behind the copy, in every loop and arm of a branch that the copy is in."""
    order = [node for node in nodes(body, (tirx.Evaluate, tirx.BufferLoad)) if _is_either(node, copy, op)]
    copies = [at for at, node in enumerate(order) if node.same_as(copy)]
    loads = [at for at, node in enumerate(order) if isinstance(node, tirx.BufferLoad)]
    # The region that the copy writes is a load of the buffer too, visited before the copy itself.
    if len(copies) != 1 or copies[0] != 1:
        return False
    return all(len(_loads(scope, op)) == len(loads) for scope in _scopes(body) if _holds(scope, copy))


def _is_either(node: Any, copy: tirx.Evaluate, op: tile_ops.CopyOp) -> bool:
    return node.buffer.same_as(op.dst.buffer) if isinstance(node, tirx.BufferLoad) else node.same_as(copy)


def _scopes(body: Any) -> Iterator[Any]:
    """The bodies of loops that run several times, and the arms of branches."""
    for loop in nodes(body, tirx.For):
        if loop.thread_binding is None:
            yield loop.body
    for loop in nodes(body, tirx.While):
        yield loop.body
    for branch in nodes(body, tirx.IfThenElse):
        yield from (arm for arm in (branch.then_case, branch.else_case) if arm is not None)


def _holds(scope: Any, copy: tirx.Evaluate) -> bool:
    return is_one_of(copy, nodes(scope, tirx.Evaluate))


def _loads(scope: Any, op: tile_ops.CopyOp) -> list[tirx.BufferLoad]:
    return [load for load in nodes(scope, tirx.BufferLoad) if load.buffer.same_as(op.dst.buffer)]


def _read_through(body: Any, op: tile_ops.CopyOp) -> Any:
    parallel = [loop.loop_var for loop in nodes(body, tirx.For) if loop.kind == tirx.ForKind.PARALLEL]

    def region(node: Any) -> Any:
        """A region names a buffer; its load is no element."""
        return node if _is_region(node) and node.args[0].buffer.same_as(op.dst.buffer) else None

    def element(node: Any) -> Any:
        if not isinstance(node, tirx.BufferLoad) or not node.buffer.same_as(op.dst.buffer):
            return None
        if any(uses(index, var) for index in node.indices for var in parallel):
            return None
        return _element(op, list(node.indices))

    return tirx.stmt_functor.ir_transform(body, region, element, ["tirx.Call", "tirx.BufferLoad"])


def _element(op: tile_ops.CopyOp, indices: list[Any]) -> tirx.BufferLoad:
    """The element of the tensor that element ``indices`` of the buffer is a copy of."""
    moving = iter([index for index, size in zip(indices, op.dst.extents, strict=True) if size != 1])
    parts = zip(op.src.mins, op.src.extents, strict=True)
    return tirx.BufferLoad(op.src.buffer, [first if size == 1 else first + next(moving) for first, size in parts])


def _without_copy(body: Any, op: tile_ops.CopyOp) -> Any:
    """``body`` without the copy, where nothing reads the buffer any more."""
    if len(_loads(body, op)) > 1:
        return body

    def rewrite(node: Any) -> Any:
        kept = [statement for statement in node.seq if not _is_the_copy(statement, op)]
        if len(kept) == len(node.seq) or not kept:
            return None
        return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)

    return tirx.stmt_functor.ir_transform(body, None, rewrite, ["tirx.SeqStmt"])


def _is_the_copy(statement: Any, op: tile_ops.CopyOp) -> bool:
    if not isinstance(statement, tirx.Evaluate):
        return False
    found = _copy_of_integers(statement)
    return found is not None and found.dst.buffer.same_as(op.dst.buffer)


def _is_region(node: Any) -> bool:
    return isinstance(node, tirx.Call) and str(getattr(node.op, "name", "")) == "tl.region"


def _is_written(region: tirx.Call) -> bool:
    return bool(int(region.args[1].value) & 2)
