"""Deliberately wrong kernels: each ends in an error that names the place, and the caller goes on."""

from __future__ import annotations

import os

import ml_dtypes
import msgspec
import numpy as np
import pytest
from emulator_programs import (
    BF16,
    COMPUTE_HEADERS,
    COPY,
    WRITER,
    buffer,
    compute,
    partition,
    reader,
    stream_program,
    tensor,
)

from tilelang_tt.devices import load_device
from tilelang_tt.errors import CapacityError, Code, ExecutionError, ProgramError
from tilelang_tt.program.spec import ComputeConfig, ShardSpec
from tilelang_tt.runtime import emulator

SHAPE = (32, 128)  # 4 pages
READ, WRITE = reader(1), WRITER.replace("INPUTS", "1")


def copy_program(**options):
    inputs = options.pop("inputs", [tensor("a", SHAPE, BF16, "in")])
    output = options.pop("output", tensor("c", SHAPE, BF16, "out"))
    return stream_program(inputs, output, options.pop("source", COPY), **options)


def arrays(spec):
    return [
        np.ones(item.shape, ml_dtypes.bfloat16 if item.dtype == "bfloat16" else item.dtype) for item in spec.tensors
    ]


def fails(program, code=Code.KERNEL_FAULT, timeout=30.0):
    spec, sources = program
    with pytest.raises(ExecutionError) as caught:
        emulator.run(spec, sources, arrays(spec), timeout_seconds=timeout)
    assert caught.value.code is code
    return str(caught.value)


def has(text, *words):
    for word in words:
        assert word in text, f"{word!r} is not in\n{text}"


def changed(source, old, new):
    assert old in source
    return source.replace(old, new)


def wrong_reader(old, new):
    return copy_program(replace={"reader": changed(READ, old, new)})


def wrong_writer(old, new):
    return copy_program(replace={"writer": changed(WRITE, old, new)})


def wrong_compute(old, new, **options):
    return copy_program(source=changed(options.pop("source", COPY), old, new), **options)


def test_the_right_program_runs():
    spec, sources = copy_program(cores=2)
    a, c = np.arange(4096).reshape(SHAPE).astype(BF16), np.zeros(SHAPE, BF16)
    report = emulator.run(spec, sources, [a, c])
    assert (a == c).all()
    assert report.unwritten_pages == {"c": 0}


# --- network on chip ---


def test_page_outside_the_tensor():
    text = fails(wrong_reader("noc_async_read_page(page,", "noc_async_read_page(page + 1,"))
    has(text, "reader kernel, core (0, 0)", "page 4 is outside tensor 'a', which has 4 pages", "reader.cpp:8")


def test_l1_address_out_of_bounds():
    has(fails(wrong_reader("get_write_ptr(0))", "get_write_ptr(0) + 500000)")), "out of bounds", "reader.cpp:8")
    has(fails(wrong_reader("get_write_ptr(0))", "4096)")), "no address of this core's L1")
    has(
        fails(wrong_reader("get_write_ptr(0))", "get_write_ptr(0) + 3072)")),
        "run past the end",
        "circular buffer 0 'in0'",
    )


def test_misaligned_transfer():
    has(fails(wrong_reader("get_write_ptr(0))", "get_write_ptr(0) + 16)")), "misaligned", "modulo 32")


def test_address_of_another_tensor():
    text = fails(wrong_reader("get_common_arg_val<uint32_t>(0)", "get_common_arg_val<uint32_t>(1)"))
    has(text, "TensorAccessor for 'a'", "not that tensor's")


def test_write_to_an_input():
    spec, sources = copy_program()
    writer = msgspec.structs.replace(spec.kernels[2], accessors=("a",))
    spec = msgspec.structs.replace(spec, kernels=(*spec.kernels[:2], writer))
    sources["writer.cpp"] = changed(WRITE, "get_common_arg_val<uint32_t>(1)", "get_common_arg_val<uint32_t>(0)")
    has(fails((spec, sources)), "writer kernel", "write to the input tensor 'a'")


def test_read_barrier_missing_before_push():
    has(
        fails(wrong_reader("noc_async_read_barrier();", "")),
        "cb_push_back",
        "noc_async_read_barrier is missing",
        "0 'in0'",
    )


def test_write_flush_missing_before_pop():
    has(fails(wrong_writer("noc_async_writes_flushed();", "")), "cb_pop_front", "noc_async_writes_flushed", "16 'out'")


def test_write_barrier_missing_at_the_end():
    text = fails(wrong_writer("    noc_async_write_barrier();\n", ""))
    has(text, "ended with a NoC write", "noc_async_write_barrier is missing")


@pytest.mark.parametrize(("stride", "overlaps"), [(16, False), (3, False), (2, True), (1, True), (0, True)])
def test_two_cores_write_parts_of_one_page(stride, overlaps):
    """Each writes 3 elements, 2 at a time, so the middle one is written twice; the second core ``stride`` on."""
    place = f"{{at}} + page * {2 * stride}"
    part = f"noc_async_write_page(0, out, get_read_ptr(16) + {place}, 4, {place});"
    whole = "noc_async_write_page(page, out, get_read_ptr(16));"
    spec, sources = wrong_writer(whole, part.format(at=0) + part.format(at=2))
    spec = msgspec.structs.replace(spec, partition=partition(spec.device.cores[:2], [(0, 1), (1, 1)]))
    if overlaps:
        has(fails((spec, sources)), "page 0 of tensor 'c' is written by core (0, 0)", "and by core (1, 0)")
    else:
        emulator.run(spec, sources, arrays(spec))


def test_two_cores_write_one_page():
    program = wrong_writer("noc_async_write_page(page,", "noc_async_write_page(0 * page,")
    spec, sources = program
    spec = msgspec.structs.replace(spec, partition=partition(spec.device.cores[:3], [(0, 1), (1, 1), (2, 2)]))
    texts = {fails((spec, sources)) for _ in range(5)}
    assert len(texts) == 1
    has(texts.pop(), "page 0 of tensor 'c' is written by core (0, 0)", "and by core (1, 0)", "writer kernel, line 8")


# --- circular buffers ---


def test_write_without_reserve():
    has(fails(wrong_reader("cb_reserve_back(0, 1);", "")), "a write without cb_reserve_back", "circular buffer 0 'in0'")


def test_read_without_wait():
    has(fails(wrong_writer("cb_wait_front(16, 1);", "")), "a read without cb_wait_front", "circular buffer 16 'out'")
    has(fails(wrong_compute("cb_wait_front(0, 1);", "")), "cb_wait_front is missing", "circular buffer 0 'in0'")


def test_push_more_than_reserved():
    has(
        fails(wrong_reader("cb_push_back(0, 1)", "cb_push_back(0, 2)")),
        "cb_push_back of 2 pages, but only 1 are reserved",
    )


def test_pop_more_than_waited():
    has(fails(wrong_compute("cb_pop_front(0, 1)", "cb_pop_front(0, 2)")), "cb_pop_front of 2 pages, but only 1")


def test_reserve_more_than_capacity():
    has(fails(wrong_reader("cb_reserve_back(0, 1)", "cb_reserve_back(0, 3)")), "cb_reserve_back of 3 pages", "has 2")


def test_block_that_would_wrap():
    # Blocks of two pages in a buffer of three: the second block would lie in pages 2 and 0.
    read = changed(READ, "++page", "page += 2").replace("(0, 1)", "(0, 2)")
    one_by_one = changed(COPY, "cb_wait_front(0, 1)", "cb_wait_front(0, 2 - i % 2)")
    twice = (
        "noc_async_read_page(page, in0, get_write_ptr(0)); noc_async_read_page(page + 1, in0, get_write_ptr(0) + %s);"
    )
    past_end = changed(read, "noc_async_read_page(page, in0, get_write_ptr(0));", twice % "2048")
    text = fails(copy_program(source=one_by_one, replace={"reader": past_end}, pages=3))
    has(text, "reader kernel", "circular buffer 16 'out': a write without cb_reserve_back")  # the next one in L1
    same_page = changed(read, "noc_async_read_page(page, in0, get_write_ptr(0));", twice % "(page == 0 ? 2048 : 0)")
    text = fails(copy_program(source=one_by_one, replace={"reader": same_page}, pages=3))
    has(text, "wrap in the middle of a block", "3 pages is no multiple", "circular buffer 0 'in0'")


def test_tiles_do_not_wrap():
    # Page by page all is well, but two tiles from page 2 of 3 on are not contiguous.
    source = changed(COPY, "cb_wait_front(0, 1)", "cb_wait_front(0, i == 2 ? 2 : 1)")
    source = changed(source, "copy_tile(0, 0, 0)", "copy_tile(0, i == 2 ? 1 : 0, 0)")
    text = fails(copy_program(source=source, pages=3))
    has(text, "copy_tile reads tile 1, past the end of the circular buffer", "do not wrap")


def test_page_never_written():
    program = wrong_reader("noc_async_read_page(page, in0, get_write_ptr(0));", "")
    has(fails(program), "compute kernel", "L1 that was never written", "circular buffer 0 'in0'", "compute.cpp")


def test_popped_page_is_void():
    read = changed(READ, "noc_async_read_page", "if (page < 2) noc_async_read_page")
    has(fails(copy_program(replace={"reader": read})), "L1 that was never written")


def test_unknown_circular_buffer():
    has(fails(wrong_reader("cb_reserve_back(0, 1)", "cb_reserve_back(7, 1)")), "no circular buffer 7")


def test_two_producers():
    writer = changed(
        WRITE, "    noc_async_write_barrier();\n", "    noc_async_write_barrier();\n    cb_reserve_back(0, 1);\n"
    )
    has(fails(copy_program(replace={"writer": writer})), "writer kernel", "the reader kernel calls it too")


def test_leftover_pages():
    compute_less = changed(COPY, "i < count", "i < count - 1")
    write_less = changed(WRITE, "page < start + count", "page < start + count - 1")
    text = fails(copy_program(source=compute_less, replace={"writer": write_less}))
    has(text, "1 pages pushed and never popped", "circular buffer 0 'in0'")


def test_deadlock_says_who_waits_for_what():
    text = fails(wrong_reader("page < start + count", "page < start + count - 1"), Code.DEADLOCK)
    has(
        text,
        "core (0, 0)",
        "reader kernel has ended",
        "compute kernel (compute.cpp:",
        "waits in cb_wait_front for 1 pages of circular buffer 0 'in0', which holds 0 of 2",
        "writer kernel (writer.cpp:7) waits in cb_wait_front for 1 pages of circular buffer 16 'out'",
    )


def test_deadlock_of_a_reader():
    source = changed(COPY, "cb_pop_front(0, 1);", "").replace("cb_wait_front(0, 1)", "cb_wait_front(0, i + 1)")
    text = fails(
        wrong_compute("cb_wait_front(0, i + 1)", "cb_wait_front(0, i == 0 ? 1 : 2)", source=source), Code.DEADLOCK
    )
    has(text, "reader kernel (reader.cpp:7) waits in cb_reserve_back for 1 free pages", "which has 0 of 2 free")


# --- DST ---


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tile_regs_acquire();", "", "copy_tile outside of tile_regs_acquire"),
        ("tile_regs_commit();", "", "tile_regs_wait without tile_regs_commit"),
        ("tile_regs_wait();", "", "pack_tile outside of tile_regs_wait"),
        ("tile_regs_release();", "", "tile_regs_wait again without tile_regs_release"),
        ("copy_tile(0, 0, 0)", "copy_tile(0, 0, 4)", "DST index 4, but a half of a float32 DST has 4 tiles"),
        ("pack_tile(0, 16)", "pack_tile(1, 16)", "reads DST tile 1, which nothing has written"),
        ("cb_reserve_back(16, 1);", "", "cb_reserve_back is missing"),
        ("compute_kernel_hw_startup(0, 16);", "", "before compute_kernel_hw_startup"),
    ],
)
def test_dst_protocol(old, new, words):
    has(fails(wrong_compute(old, new)), "compute kernel", words)


def test_dst_committed_but_never_released():
    loop = "tile_regs_acquire(); tile_regs_commit(); tile_regs_acquire(); tile_regs_commit(); tile_regs_acquire();"
    has(fails(wrong_compute("tile_regs_acquire();", loop), Code.DEADLOCK), "tile_regs_acquire waits forever")
    text = fails(
        wrong_compute(
            "pack_tile(0, 16);\n        tile_regs_release();",
            "pack_tile(0, 16);\n if (i + 1 < count) tile_regs_release();",
        )
    )
    has(text, "ended in the middle of DST's protocol", "tile_regs_release is missing")


# --- configuration of the engines ---


def mixed(source):
    inputs = [tensor("a", SHAPE, BF16, "in"), tensor("b", SHAPE, np.float32, "in")]
    return copy_program(inputs=inputs, source=source)


def test_init_missing():
    has(fails(wrong_compute("copy_init(0);", "")), "copy_tile without copy_init", "in force is no init")
    has(fails(wrong_compute("copy_init(0);", "matmul_init(0, 0);")), "copy_tile without copy_init", "matmul_init (line")


def test_sfpu_init_missing():
    two = changed(COPY, "copy_tile(0, 0, 0);", "copy_tile(0, 0, 0); exp_tile_init(); relu_tile(0);")
    has(fails(copy_program(source=two)), "relu_tile without relu_tile_init", "in force is exp_tile_init")


def test_reconfig_missing_for_the_unpacker():
    body = "copy_init(0); copy_tile(0, 0, 1); copy_init(1); copy_tile(1, 0, 0);"
    source = compute("compute_kernel_hw_startup(0, 16);", body, inputs=2)
    has(
        fails(mixed(source)), "circular buffer 1 'in1'", "SrcA is configured for Float16_b", "reconfig_data_format_srca"
    )
    # The form with the old buffer compares the two it is given, not what is in force.
    source = changed(source, "copy_init(1);", "reconfig_data_format_srca(1, 1); copy_init(1);")
    has(fails(mixed(source)), "reconfig_data_format_srca(cb) is missing")


def test_reconfig_missing_for_the_matrix_engine():
    body = "matmul_tiles(0, 1, 0, 0, 0);"
    source = compute("compute_kernel_hw_startup(0, 1, 16);", body, inputs=2, once="matmul_init(0, 1);")
    has(
        fails(mixed(source)),
        "matmul_tiles",
        "SrcB is configured for Float32",
        "reconfig_data_format<SrcOrder::Reverse>",
    )


def test_reconfig_missing_for_the_packer():
    spec, sources = copy_program(
        source=changed(COPY, "hw_startup(0, 16)", "hw_startup(0, 24)"), extra=[buffer(24, "acc", "Float32", 1)]
    )
    has(fails((spec, sources)), "packer is configured for Float32", "pack_reconfig_data_format(16) is missing")


def test_block_shape_differs_from_init():
    source = compute(
        "compute_kernel_hw_startup<SrcOrder::Reverse>(0, 0, 16);",
        "matmul_block(0, 0, 0, 0, 0, 1, 1, 1, 1);",
        once="matmul_block_init(0, 0, 0, 1, 1, 1);",
    )
    has(fails(copy_program(source=source)), "matmul_block with ct 1, rt 1, kt 1, transpose 1", "transpose 0")


def test_matrix_engine_operands():
    half = [tensor("a", SHAPE, BF16, "in"), tensor("b", SHAPE, np.float16, "in")]
    source = compute(
        "compute_kernel_hw_startup(0, 1, 16);", "add_tiles(0, 1, 0, 0, 0);", inputs=2, once="add_init(0, 1);"
    )
    has(fails(copy_program(inputs=half, source=source)), "cannot mix Float16")
    source = compute("compute_kernel_hw_startup(0, 16);", "add_tiles(0, 0, 0, 0, 0);", once="add_init(0, 0);")
    program = copy_program(inputs=[tensor("a", SHAPE, np.float32, "in")], source=source, to_dest=True)
    has(fails(program), "only copy_tile can read it")


def test_broadcast_that_is_wrong_on_the_chip():
    source = compute(
        "compute_kernel_hw_startup(0, 16);",
        "unary_bcast<BroadcastType::ROW>(0, 0, 0);",
        once="unary_bcast_init<BroadcastType::ROW>(0);",
    )
    has(fails(copy_program(source=source)), "unary_bcast of a 16-bit circular buffer with a float32 DST")


def test_l1_accumulation_onto_nothing():
    has(fails(wrong_compute("copy_init(0);", "copy_init(0); pack_reconfig_l1_acc(1);")), "never written", "16 'out'")


def test_reduce_uninit_missing():
    inputs = [tensor("a", SHAPE, BF16, "in"), tensor("b", SHAPE, BF16, "in")]
    source = compute(
        "compute_kernel_hw_startup(0, 1, 16);",
        "copy_tile(0, 0, 0);",
        inputs=2,
        once="reduce_init<SUM, REDUCE_COL>(0, 1, 16); copy_init(0);",
    )
    has(fails(copy_program(inputs=inputs, source=source)), "reduce_uninit is missing")


# --- kernels that crash or hang, programs that cannot run ---


def test_crash_is_an_error():
    text = fails(wrong_compute("copy_init(0);", "copy_init(0); *reinterpret_cast<volatile int*>(16) = 1;"))
    has(text, "compute kernel, core (0, 0)", "segmentation fault")


def test_stack_overflow_is_an_error():
    deep = """int deep(volatile int* p, int n) {
    volatile int a[4096];
    a[n % 4096] = n;
    return n > 1 << 20 ? *p : deep(a, n + 1) + a[5];
}
"""
    source = changed(COPY, "void kernel_main", deep + "void kernel_main")
    has(
        fails(wrong_compute("copy_init(0);", "copy_init(0); volatile int x = 0; deep(&x, 0);", source=source)),
        "stack overflowed",
    )


def test_endless_loop_is_a_timeout():
    program = wrong_compute("copy_init(0);", "copy_init(0); for (volatile int x = 0; x < 1;) {}")
    has(fails(program, Code.TIMEOUT, timeout=0.5), "compute kernel, core (0, 0)", "not over after 0.5 s", "compute.cpp")


def test_caller_survives():
    pid = os.getpid()
    test_crash_is_an_error()
    test_the_right_program_runs()
    assert os.getpid() == pid


def test_kernel_that_does_not_compile():
    text = fails(wrong_compute("copy_init(0);", "copy_innit(0);"), Code.TOOLCHAIN)
    has(text, "compute kernel compute.cpp", "copy_innit")
    named = wrong_reader(
        "const uint32_t start", 'constexpr uint32_t n = get_named_compile_time_arg_val("n");\n    const uint32_t start'
    )
    has(fails(named, Code.TOOLCHAIN), "this_named_compile_time_argument_does_not_exist")


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    has(fails(copy_program(), Code.TOOLCHAIN), "needs a C++ compiler", "install g++")


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TILELANG_TT_CACHE", str(tmp_path / "file" / "cache"))
    has(fails(copy_program(), Code.TOOLCHAIN), "cannot be made", "set TILELANG_TT_CACHE")


def test_l1_capacity():
    spec, sources = copy_program(extra=[buffer(5, "huge", "Float32", 400)])
    with pytest.raises(CapacityError) as caught:
        emulator.run(spec, sources, arrays(spec))
    assert caught.value.code is Code.L1_CAPACITY
    has(str(caught.value), "1,638,400  circular buffer 5 huge", "1,499,136 bytes on wormhole_n150")


def test_wrong_tensors():
    spec, sources = copy_program()
    a, c = arrays(spec)
    for tensors, code in (
        ([a], Code.ARGUMENT_COUNT),
        ([a, c[:, :64]], Code.ARGUMENT_SHAPE),
        ([a, c.astype(np.float32)], Code.ARGUMENT_DTYPE),
    ):
        with pytest.raises(ProgramError) as caught:
            emulator.run(spec, sources, tensors)
        assert caught.value.code is code


def test_unwritten_output_pages_keep_their_content():
    write = changed(WRITE, "noc_async_write_page(", "if (page != 2) noc_async_write_page(")
    spec, sources = copy_program(replace={"writer": write})
    a, c = np.ones(SHAPE, BF16), np.full(SHAPE, 7, BF16)
    report = emulator.run(spec, sources, [a, c])
    assert report.unwritten_pages == {"c": 1}
    assert (c[:, 64:96] == 7).all()
    assert (np.delete(c, np.s_[64:96], 1) == 1).all()


def test_error_of_the_first_core_is_reported():
    # Every core fails; whatever thread is first, the error is that of the first core.
    spec, sources = wrong_reader("cb_reserve_back(0, 1);", "")
    device = load_device("wormhole_n150")
    shape = (32, 32 * 16)
    spec = msgspec.structs.replace(
        spec,
        tensors=(tensor("a", shape, BF16, "in"), tensor("c", shape, BF16, "out")),
        partition=partition(device.cores[:16], [(i, 1) for i in range(16)]),
    )
    for _ in range(5):
        has(fails((spec, sources)), "core (0, 0)")


def test_read_of_a_page_that_another_core_writes():
    shape = (32, 64)
    spec, sources = stream_program([tensor("x", shape, BF16, "inout")], tensor("c", shape, BF16, "out"), COPY, cores=2)
    writer = msgspec.structs.replace(spec.kernels[2], accessors=("x",))
    spec = msgspec.structs.replace(spec, kernels=(*spec.kernels[:2], writer))
    sources["writer.cpp"] = changed(WRITE, "get_common_arg_val<uint32_t>(1)", "get_common_arg_val<uint32_t>(0)")
    emulator.run(spec, sources, arrays(spec))  # in place: each core its own page
    sources["reader.cpp"] = changed(READ, "noc_async_read_page(page,", "noc_async_read_page(1 - page,")
    has(
        fails((spec, sources)),
        "page 0 of tensor 'x' is written by core (0, 0)",
        "and read by core (1, 0)",
        "in no order",
    )


def test_shards_in_l1_are_bounded():
    shard = ShardSpec((1, 2), (1, 2), ((0, 0), (1, 0)))
    spec, sources = copy_program(inputs=[tensor("a", SHAPE, BF16, "in", shard, "L1")], cores=2)
    a, c = np.arange(4096).reshape(SHAPE).astype(BF16), np.zeros(SHAPE, BF16)
    emulator.run(spec, sources, [a, c])
    assert (a == c).all()
    sources["reader.cpp"] = changed(READ, "noc_async_read_page(page,", "noc_async_read_page(page + 4,")
    has(fails((spec, sources)), "page 4 is outside tensor 'a'")


def test_16_bit_dst_has_8_tiles():
    config = ComputeConfig(fp32_dest_acc=False)
    spec, sources = copy_program(
        source=changed(COPY, "copy_tile(0, 0, 0)", "copy_tile(0, 0, 7); copy_tile(0, 0, 0)"), config=config
    )
    emulator.run(spec, sources, arrays(spec))
    has(fails(wrong_compute("copy_tile(0, 0, 0)", "copy_tile(0, 0, 8)", config=config)), "a 16-bit DST has 8 tiles")


def test_compute_kernel_cannot_move_data():
    source = '#include "api/dataflow/dataflow_api.h"\n' + COMPUTE_HEADERS + "void kernel_main() {}\n"
    has(fails(copy_program(source=source), Code.TOOLCHAIN), "cannot use the data-movement API")
