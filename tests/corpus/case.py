"""One kernel of the corpus: imported, compiled, run and compared. For a process of its own, see run.py."""

import importlib.util
import sys
import traceback
from pathlib import Path

import torch

import tilelang_tt as tt

RELATIVE = 1e-2
"""Error allowed of every element, relative to it: what most of the examples themselves ask for."""
OF_LARGEST = 4e-3
"""Beyond that, relative to the largest element: the matrix engine aligns the products that it adds to 12 bits."""


def outcome(path: Path, case: dict, *, run: bool = True) -> dict:
    """``state`` (needs, broken, refused, compiled, crashed, fault, ran, wrong, right) and what is to be said of it."""
    names, stopped = namespace(path, case.get("globals", {}))
    if stopped is not None and case["kernel"].split("(")[0] not in names:
        return {"state": "needs", "words": stopped}
    torch.manual_seed(0)
    try:
        func = eval(case["kernel"], {**names, **{name: tir_of(value) for name, value in names.items()}})
    except Exception as error:
        return {"state": "broken", "words": f"{type(error).__name__}: {first_line(error)}"}
    try:
        program = tt.compile(func, out_idx=())
    except tt.TTError as error:
        return {"state": "refused", "code": str(error.code.value), "words": error.message}
    except Exception as error:
        traceback.print_exc()
        return {"state": "crashed", "words": f"{type(error).__name__}: {first_line(error)}"}
    return executed(program, case, names) if run else {"state": "compiled"}


def executed(program, case: dict, names: dict) -> dict:
    """What becomes of a program on the emulator."""
    given = tensors(program.spec, case.get("inputs", {}), names)
    before = {name: tensor.clone() for name, tensor in given.items()}
    try:
        program(*given.values())
    except tt.TTError as error:
        return {"state": "fault", "code": str(error.code.value), "words": error.message.splitlines()[0]}
    if "reference" not in case:
        return {"state": "ran", "words": "no reference"}
    wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in before.items()}
    return compared(program.spec, given, eval(case["reference"], {**names, **wide}))


def namespace(path: Path, sizes: dict) -> tuple[dict, str | None]:
    """What the module of an example defines, imported as if it were run from its directory without arguments, and what
    stopped its import, if anything did; ``sizes`` replace constants of it."""
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    stopped = None
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        stopped = f"the package {error.name}"
    except BaseException as error:
        stopped = f"{type(error).__name__}: {first_line(error)}"
    vars(module).update(sizes)
    return {**vars(module), "torch": torch}, stopped


def tir_of(value):
    """For a ``@tilelang.jit`` function, tuned or not, the function that makes its PrimFunc; else ``value`` itself."""
    value = getattr(value, "jit_impl", value)
    return value.get_tir if hasattr(value, "get_tir") else value


def tensors(spec, given: dict[str, str], names: dict) -> dict:
    """An argument for every parameter: as the table says, else random numbers in and, where it is only written, NaN."""
    made = {}
    for tensor in spec.tensors:
        shape, dtype = tensor.host_shape, getattr(torch, tensor.dtype)
        if tensor.name in given:
            made[tensor.name] = eval(given[tensor.name], {**names, **made}).to(dtype)
        elif tensor.direction == "out":
            made[tensor.name] = torch.full(shape, float("nan") if dtype.is_floating_point else -1, dtype=dtype)
        else:
            made[tensor.name] = torch.randn(shape).to(dtype)
    return made


def compared(spec, found: dict, expected) -> dict:
    """Every output against ``expected``: a tensor, or a tuple of one for each output (None for any content)."""
    outputs = [found[tensor.name] for tensor in spec.tensors if tensor.direction != "in"]
    wanted = list(expected) if isinstance(expected, (list, tuple)) else [expected]
    if len(wanted) != len(outputs):
        return {"state": "wrong", "words": f"{len(outputs)} outputs, {len(wanted)} expected"}
    worst = 0.0
    for output, want in zip(outputs, wanted, strict=True):
        if want is None:
            continue
        output, want = output.double(), want.double().reshape(output.shape)
        largest = want[torch.isfinite(want)].abs().max().item()
        if not torch.allclose(output, want, rtol=RELATIVE, atol=OF_LARGEST * largest):
            apart = (output - want).abs().nan_to_num(float("inf"), float("inf"))
            return {
                "state": "wrong",
                "words": f"off by up to {apart.max().item():.3g} of {want.abs().max().item():.3g}",
            }
        finite = torch.isfinite(want)
        worst = max(worst, (output - want)[finite].abs().max().item() / max(largest, 1e-30))
    return {"state": "right", "error": worst}


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1 if "Traceback" in str(error) else 0][:200] if lines else type(error).__name__
