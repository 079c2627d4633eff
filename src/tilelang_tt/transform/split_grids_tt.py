"""SplitGridsTT: a function that launches several grids becomes a function of each.

The grids run one after the other. What they hand on lies in tensors: parameters of the function, or device memory that
it allocates itself (T.alloc_global), which becomes a parameter of the functions that use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..errors import Code, ScheduleError, UnsupportedError
from ..language import tile_ops
from ..language.early_binds import never_written
from ..language.kernel import is_block_loop, kernel_name, read_kernel, tensor_params
from ..language.nodes import is_one_of, nodes
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..language.symbols import Symbols, symbols_of
from ..partition import parse_user_schedule
from .common import check_tensor_names


def SplitGridsTT() -> tvm.transform.Pass:
    """The pass. A function of one grid that allocates no device memory stays as it is.

    Every other becomes a function ``<name>_grid<number>`` per grid, with ``tt.grid_of``; user layouts and schedules are
    handed on to the functions that have the tensors and sizes they name.

    Raises, when run:
        UnsupportedError: ``unsupported``, for statements outside of all grids, and grids under conditions or in loops.
        LayoutError, ScheduleError: for annotations of what the function does not have.
    """

    def run(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        functions: dict[Any, Any] = {}
        for var, func in mod.functions_items():
            parts = split_grids(func) if isinstance(func, tirx.PrimFunc) else [func]
            functions |= {var: func} if parts[0] is func else {kernel_name(part): part for part in parts}
        return tvm.IRModule(functions, attrs=mod.attrs)

    return tvm.transform.module_pass(run, opt_level=0, name="tl.tt.SplitGridsTT")


def split_grids(func: tirx.PrimFunc) -> list[tirx.PrimFunc]:
    """A function for every grid of ``func``, in their order; ``func`` itself where it is one already."""
    launches = _launches(func)
    memory = device_memory(func)
    if len(launches) == 1 and not memory:
        return [func]
    names = _names(func, memory)
    symbols = symbols_of(func)
    unused = _unused(func)
    parts: list[tirx.PrimFunc] = []
    for number, launch in enumerate(launches):
        tensors = _tensors(func, launch, memory, unused if number == 0 else [], symbols)
        handles = {handle: buffer for handle, buffer in func.buffer_map.items() if is_one_of(buffer, tensors)}
        params = [param for param in func.params if param in handles]
        for buffer in (buffer for buffer in memory if is_one_of(buffer, tensors)):
            params.append(tirx.Var(f"{buffer.name}_handle", "handle"))
            handles[params[-1]] = buffer
        body = _without_device_memory(_in_root(func.body, launch))
        part = tirx.PrimFunc(params, body, func.ret_type, handles, func.attrs, func.span)
        others = [name for name in names if name not in [str(buffer.name) for buffer in tensors]]
        parts.append(part.with_attr(_attributes(func, number, len(launches), tensors, others, symbols)))
    return _with_axes_of_each(parts)


def device_memory(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The device memory that ``func`` allocates itself (T.alloc_global), in its order."""
    blocks = reversed(nodes(func.body, tirx.SBlock))
    return [buffer for block in blocks for buffer in block.alloc_buffers if tile_ops.is_global(buffer)]


def _launches(func: tirx.PrimFunc) -> list[tirx.Stmt]:
    """What is launched: each grid, with the values of the names that are bound in front of it."""
    body = func.body
    while isinstance(body, (tirx.SBlockRealize, tirx.AttrStmt)):
        body = body.block.body if isinstance(body, tirx.SBlockRealize) else body.body
    names: dict[tirx.Var, tirx.PrimExpr] = {}
    launches: list[tirx.Stmt] = []
    others: list[tirx.Stmt] = []
    for statement in body.seq if isinstance(body, tirx.SeqStmt) else [body]:
        if isinstance(statement, tirx.For) and is_block_loop(statement):
            launches.append(tirx.stmt_functor.substitute(statement, names) if names else statement)
        elif isinstance(statement, tirx.Bind) and _holds_throughout(statement.value, func):
            names[statement.var] = tirx.stmt_functor.substitute(statement.value, names)
        else:
            others.append(statement)
    # A function without any grid is refused by who looks for its grid.
    if others and nodes(func.body, tirx.For) and any(map(is_block_loop, nodes(func.body, tirx.For))):
        raise _outside(func, others[0])
    return launches if launches else [body]


def _holds_throughout(value: tirx.PrimExpr, func: tirx.PrimFunc) -> bool:
    """Whether ``value`` is the same for every grid: it reads no tensor that one of them writes."""
    loads = nodes(value, tirx.BufferLoad)
    return not loads or all(is_one_of(load.buffer, never_written(func)) for load in loads)


def _outside(func: tirx.PrimFunc, statement: tirx.Stmt) -> UnsupportedError:
    holds_a_grid = any(map(is_block_loop, nodes(statement, tirx.For)))
    words = {tirx.For: "in a loop", tirx.While: "in a loop", tirx.IfThenElse: "under a condition"}
    how = words.get(type(statement), "in another statement")
    return UnsupportedError(
        Code.UNSUPPORTED,
        f"a grid is launched {how}" if holds_a_grid else "a statement is outside of all grids",
        subject=kernel_name(func),
        found=" ".join(str(statement).split())[:120],
        expected="grids that are launched once each, one after the other",
        hint="write a T.Kernel for each launch" if holds_a_grid else "move it into a T.Kernel",
        location=location_of(func),
    )


def _names(func: tirx.PrimFunc, memory: Sequence[tirx.Buffer]) -> list[str]:
    """The names of all tensors; refused where two have one, or a layout is of none."""
    taken = [str(buffer.name) for buffer in tensor_params(func)]
    for buffer in memory:
        if str(buffer.name) in taken:
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"two tensors are called {buffer.name}",
                subject=str(buffer.name),
                found="device memory that the function allocates, and another tensor",
                expected="a name for each",
                location=location_of(buffer),
            )
        taken.append(str(buffer.name))
    check_tensor_names(plain_attrs(func).get(attrs.USER_LAYOUT, {}), taken, func)
    return taken


def _unused(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The parameters that nothing uses."""
    used = tirx.analysis.undefined_vars(func.body, [])
    return [buffer for buffer in tensor_params(func) if not is_one_of(buffer.data, used)]


def _tensors(
    func: tirx.PrimFunc,
    launch: tirx.Stmt,
    memory: Sequence[tirx.Buffer],
    extra: Sequence[tirx.Buffer],
    symbols: Symbols,
) -> list[tirx.Buffer]:
    """The tensors of a grid: those that it uses, and those that tell the sizes that it needs at launch."""
    used = tirx.analysis.undefined_vars(_without_device_memory(launch), [])
    tensors = [buffer for buffer in [*tensor_params(func), *memory] if is_one_of(buffer.data, used)]
    tensors += extra
    needed = [var for var in symbols.variables.values() if is_one_of(var, [*used, *_size_vars(tensors)])]
    for var in needed:
        if not any(_tells(buffer, var) for buffer in tensors):
            tensors.append(next(buffer for buffer in tensor_params(func) if _tells(buffer, var)))
            needed += [more for more in _size_vars(tensors[-1:]) if not is_one_of(more, needed)]
    return tensors


def _size_vars(tensors: Sequence[tirx.Buffer]) -> list[tirx.Var]:
    return [var for buffer in tensors for size in buffer.shape for var in tirx.analysis.undefined_vars(size)]


def _tells(buffer: tirx.Buffer, var: tirx.Var) -> bool:
    return is_one_of(var, buffer.shape)


def _in_root(body: tirx.Stmt, launch: tirx.Stmt) -> tirx.Stmt:
    """``launch`` in the block that is around all grids."""
    if isinstance(body, tirx.AttrStmt):
        return tirx.AttrStmt(body.node, body.attr_key, body.value, _in_root(body.body, launch))
    if not isinstance(body, tirx.SBlockRealize):
        return launch
    return _rebuilt(body, _in_root(body.block.body, launch), body.block.alloc_buffers)


def _without_device_memory(body: tirx.Stmt) -> tirx.Stmt:
    def rewrite(node: Any) -> Any:
        kept = [buffer for buffer in node.block.alloc_buffers if not tile_ops.is_global(buffer)]
        return None if len(kept) == len(node.block.alloc_buffers) else _rebuilt(node, node.block.body, kept)

    return tirx.stmt_functor.ir_transform(body, None, rewrite, ["tirx.SBlockRealize"])


def _rebuilt(node: tirx.SBlockRealize, body: tirx.Stmt, buffers: Sequence[tirx.Buffer]) -> tirx.SBlockRealize:
    block = node.block
    parts = (block.iter_vars, block.reads, block.writes, block.name_hint, body, block.init)
    made = tirx.SBlock(*parts, list(buffers), block.match_buffers, block.annotations)
    return tirx.SBlockRealize(node.iter_values, node.predicate, made)


def _attributes(
    func: tirx.PrimFunc,
    number: int,
    count: int,
    tensors: Sequence[tirx.Buffer],
    others: Sequence[str],
    symbols: Symbols,
) -> dict[str, Any]:
    """The attributes of grid ``number`` that are not those of ``func``; ``others`` are the tensors it does not use."""
    plain, name = plain_attrs(func), kernel_name(func)
    schedule = _schedule(func, plain.get(attrs.USER_SCHEDULE, {}), number, count)
    if isinstance(multicast := schedule.get(attrs.MULTICAST_KEY), list):
        schedule[attrs.MULTICAST_KEY] = [tensor for tensor in multicast if tensor not in others]
    sizes = [key for key, var in symbols.variables.items() if is_one_of(var, _size_vars(tensors))]
    if sizes:
        schedule[attrs.DYNAMIC_KEY] = {key: symbols.sizes[key] for key in sizes}
    layouts = plain.get(attrs.USER_LAYOUT, {})
    return {
        "global_symbol": f"{name}_grid{number}",
        attrs.GRID_OF: {"function": name, "number": number},
        attrs.USER_LAYOUT: {tensor: layout for tensor, layout in layouts.items() if tensor not in others},
        attrs.USER_SCHEDULE: schedule,
    }


def _schedule(func: tirx.PrimFunc, given: Any, number: int, count: int) -> dict[str, Any]:
    """The schedule of grid ``number``: what holds for all, and what is said of it by number."""
    # What is no dictionary is refused by parse_user_schedule.
    parse_user_schedule({} if isinstance(given, Mapping) else given, location_of(func))
    common = dict(given)
    of_grids = common.pop(attrs.GRIDS_KEY, [{}] * count)
    if not isinstance(of_grids, list) or len(of_grids) != count or not all(isinstance(s, Mapping) for s in of_grids):
        raise ScheduleError(
            Code.SCHEDULE_MALFORMED,
            f"{attrs.GRIDS_KEY} is not a schedule for each grid",
            subject=attrs.GRIDS_KEY,
            found=of_grids,
            expected=f"a list of {count} dictionaries",
            location=location_of(func),
        )
    return {**common, **of_grids[number]}


def _with_axes_of_each(parts: list[tirx.PrimFunc]) -> list[tirx.PrimFunc]:
    """``parts`` with axes of shards that are those of another grid named as each grid indexes the tensor."""
    layouts = [dict(plain_attrs(part)[attrs.USER_LAYOUT]) for part in parts]
    sharded = {name for of_part in layouts for name, layout in of_part.items() if _axes(layout) is not None}
    if not sharded:
        return parts
    roles = [{tensor.name: tensor.roles for tensor in read_kernel(part).tensors} for part in parts]
    for name in sharded:
        users = [number for number, of_part in enumerate(layouts) if name in of_part]
        declared = _axes(layouts[users[0]][name]) or []
        contradicting = [number for number in users if _contradicts(declared, roles[number][name])]
        # What contradicts all grids is a mistake, which InferTTLayout refuses.
        for number in contradicting if len(contradicting) < len(users) else []:
            layout = layouts[number][name]
            axes = _own_axes(declared, roles[number][name])
            layouts[number][name] = {**layout, "nd_shard": {**layout["nd_shard"], "axes": axes}}
    return [part.with_attr(attrs.USER_LAYOUT, layout) for part, layout in zip(parts, layouts, strict=True)]


def _axes(layout: Any) -> list[str] | None:
    shard = layout.get("nd_shard") if isinstance(layout, Mapping) else None
    axes = shard.get("axes") if isinstance(shard, Mapping) else None
    return axes if isinstance(axes, list) else None


def _contradicts(axes: Sequence[str], roles: Sequence[str]) -> bool:
    return any(role and axis != role for axis, role in zip(axes, roles, strict=False))


def _own_axes(axes: Sequence[str], roles: Sequence[str]) -> list[str]:
    """The roles; where nothing moves along a dimension the axis that was declared, unless another has it."""
    spare = [letter for letter in "KBNM" if letter not in roles]
    named: list[str] = []
    for axis, role in zip(axes, roles, strict=False):
        named.append(role or (axis if axis in spare else spare[0]))
        spare = [letter for letter in spare if letter != named[-1]]
    return named
