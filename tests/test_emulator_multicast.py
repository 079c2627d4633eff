"""Semaphores and multicast on the emulator, and wrong kernels: each ends in an error that names the place."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from emulator_programs import BF16, COPY, partition, stream_program, tensor
from test_emulator_strict import arrays, changed, has

from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, ExecutionError
from tilelang_tt.program.spec import MulticastSpec, SemaphoreSpec
from tilelang_tt.runtime import emulator

# The core that sends reads each page; all cores write it to pages of their own.
READER = """#include "api/dataflow/dataflow_api.h"
void kernel_main() {
    const uint32_t count = get_arg_val<uint32_t>(1), destinations = get_arg_val<uint32_t>(5);
    const uint32_t sender_x = get_arg_val<uint32_t>(6), sender_y = get_arg_val<uint32_t>(7);
    const uint32_t x0 = get_arg_val<uint32_t>(8), y0 = get_arg_val<uint32_t>(9);
    const uint32_t x1 = get_arg_val<uint32_t>(10), y1 = get_arg_val<uint32_t>(11);
    constexpr auto args0 = TensorAccessorArgs<0>();
    const auto in0 = TensorAccessor(args0, get_common_arg_val<uint32_t>(0), get_tile_size(0));
    auto ready = (volatile tt_l1_ptr uint32_t*)get_semaphore(0);
    auto arrived = (volatile tt_l1_ptr uint32_t*)get_semaphore(1);
    for (uint32_t page = 0; page < count; ++page) {
        cb_reserve_back(0, 1);
        const uint32_t l1 = get_write_ptr(0);
        if (destinations > 0) {
            noc_async_read_page(page, in0, l1);
            noc_async_read_barrier();
            noc_semaphore_wait(ready, destinations);
            noc_semaphore_set(ready, 0);
            noc_async_write_multicast(l1, get_noc_multicast_addr(x0, y0, x1, y1, l1), 2048, destinations);
            noc_async_writes_flushed();
            noc_semaphore_set(arrived, 1);
            const uint32_t flag = get_semaphore(1);
            noc_semaphore_set_multicast(flag, get_noc_multicast_addr(x0, y0, x1, y1, flag), destinations);
        } else {
            noc_semaphore_set(arrived, 0);
            noc_semaphore_inc(get_noc_addr(sender_x, sender_y, get_semaphore(0)), 1);
            noc_semaphore_wait(arrived, 1);
        }
        cb_push_back(0, 1);
    }
    noc_async_write_barrier();
    noc_async_atomic_barrier();
}
"""
PAGES = 3
CORES = [(1, 1), (2, 1), (3, 1), (4, 1)]
ROW = (1, 1, 4, 1)


def program(reader=READER, *, cores=CORES, groups=None, device="wormhole_n150", sender=(2, 1), initial=0):
    """Pages of ``a``, read by one core, copied by every core into its own pages of ``c``."""
    rectangle = (*map(min, zip(*cores, strict=True)), *map(max, zip(*cores, strict=True)))
    groups = groups or [(*rectangle, *sender, PAGES)] * len(cores)
    a = tensor("a", (32, 32 * PAGES), BF16, "in")
    c = tensor("c", (32, 32 * PAGES * len(cores)), BF16, "out")
    chip = load_device(device) if isinstance(device, str) else device
    spec, sources = stream_program([a], c, COPY, device=chip, replace={"reader": reader})
    rows = [(number * PAGES, PAGES) for number in range(len(cores))]
    made = msgspec.structs.replace(partition(cores, rows), multicast={"a": MulticastSpec("", tuple(groups))})
    semaphores = (SemaphoreSpec(0, "ready", initial), SemaphoreSpec(1, "arrived"))
    return msgspec.structs.replace(spec, partition=made, semaphores=semaphores), sources


def fails(made, code=Code.KERNEL_FAULT):
    spec, sources = made
    with pytest.raises(ExecutionError) as caught:
        emulator.run(spec, sources, arrays(spec), timeout_seconds=30.0)
    assert caught.value.code is code
    return str(caught.value)


def wrong(old, new, **options):
    return program(changed(READER, old, new), **options)


def run(made):
    spec, sources = made
    a = np.random.default_rng(0).standard_normal((32, 32 * PAGES)).astype(BF16)
    c = np.zeros(spec.tensors[1].shape, BF16)
    report = emulator.run(spec, sources, [a, c])
    assert (c == np.tile(a, (1, len(spec.partition.core_ranges)))).all()
    return report


@pytest.mark.parametrize("device", ["wormhole_n150", "blackhole_p150"])
def test_one_core_reads_and_all_receive(device):
    report = run(program(device=device))
    assert report.noc.dram_read == PAGES * 2048, "every page once"
    assert report.noc.l1_multicast == PAGES * 2048, "however many cores it reaches"
    assert report.unwritten_pages == {"c": 0}


FILLED = changed(
    READER,
    "            noc_async_read_page(page, in0, l1);\n",
    """            auto words = (volatile tt_l1_ptr uint32_t*)l1;
            for (uint32_t i = 0; i < 512; ++i) words[i] = 0x3f803f80;
            if (page != 1) noc_async_read_page(page, in0, l1);
""",
)


def test_what_the_sender_writes_itself_is_sent():
    """Page 1 through a pointer: ones, two bfloat16 to a word; the others from memory."""
    spec, sources = program(FILLED)
    a, c = arrays(spec)
    a[:] = np.arange(a.size).reshape(a.shape) % 7
    emulator.run(spec, sources, [a, c])
    a[:, 32:64] = 1
    assert (c == np.tile(a, (1, len(CORES)))).all()


def test_links_of_a_multicast_count_once():
    """From physical column 3 east to columns 4 and 6 (5 holds DRAM), and on around the torus of 10 to column 2."""
    device = load_device("wormhole_n150")
    report = run(program())
    assert device.noc.worker_columns[1:5] == (2, 3, 4, 6)
    links = 9  # the whole ring but the way from column 2 to 3
    reads = report.noc_byte_hops[0] - links * PAGES * 2048
    banks = [device.noc.dram_banks[page] for page in range(PAGES)]
    at = (device.noc.worker_columns[2], device.noc.worker_rows[1])
    assert reads == sum(2048 * ((at[0] - x) % 10 + (at[1] - y) % 12) for x, y in banks)


def test_a_rectangle_of_cores():
    cores = [(x, y) for y in range(2, 5) for x in range(3)]
    assert run(program(cores=cores, sender=(1, 3))).noc.dram_read == PAGES * 2048


def test_two_groups_side_by_side():
    cores = [(x, y) for y in (0, 1) for x in range(3)]
    groups = [(0, y, 2, y, y, y, PAGES) for y in (0, 1) for _ in range(3)]
    assert run(program(cores=cores, groups=groups)).noc.dram_read == 2 * PAGES * 2048


def test_loopback_reaches_the_sender_too():
    source = changed(READER, "noc_async_write_multicast(l1", "noc_async_write_multicast_loopback_src(l1")
    run(program(changed(source, "2048, destinations)", "2048, destinations + 1)")))


def test_wait_min_and_an_initial_value():
    source = changed(READER, "noc_semaphore_wait(ready, destinations)", "noc_semaphore_wait_min(ready, destinations)")
    run(program(source))
    # Two are counted that never came: the first block goes out before all receivers have room.
    text = fails(program(source, initial=2))
    has(text, "multicast of 2048 bytes", "has reserved 0 pages")


def test_the_report_does_not_depend_on_the_run():
    spec, sources = program()
    first, second = (emulator.run(spec, sources, arrays(spec)) for _ in range(2))
    assert first == second


class TestWrongKernels:
    def test_a_wait_that_never_ends_names_the_semaphore(self):
        text = fails(
            wrong("noc_semaphore_wait(ready, destinations)", "noc_semaphore_wait(ready, destinations + 1)"),
            Code.DEADLOCK,
        )
        has(text, "reader kernel, core (1, 1)", "waits for semaphore 1 'arrived' to be 1, which is 0")
        has(text, "and of core (2, 1)", "(reader.cpp:17) waits for semaphore 0 'ready' to be 4, which is 3")

    def test_a_receiver_that_does_not_say_that_it_is_ready(self):
        increment = "noc_semaphore_inc(get_noc_addr(sender_x, sender_y, get_semaphore(0)), 1);"
        text = fails(
            wrong(increment, f"if (get_arg_val<uint32_t>(0) != 3) {increment}".replace("!= 3", "!= 0")), Code.DEADLOCK
        )
        has(text, "semaphore 0 'ready' to be 3, which is 2")

    def test_a_flag_that_is_not_sent(self):
        text = fails(wrong("noc_semaphore_set(arrived, 1);", ""), Code.DEADLOCK)
        has(text, "semaphore 1 'arrived' to be 1, which is 0")

    def test_a_count_of_destinations_with_the_sender(self):
        text = fails(wrong("2048, destinations)", "2048, destinations + 1)"))
        has(text, "counts 4 destinations", "holds 3 without the sender", "reader.cpp:19")

    def test_a_flag_with_a_wrong_count(self):
        text = fails(wrong("flag), destinations)", "flag), 1)"))
        has(text, "noc_semaphore_set_multicast counts 1 destinations")

    def test_a_core_outside_the_programs(self):
        text = fails(wrong("wait(ready, destinations)", "wait(ready, 3)", groups=[(1, 1, 5, 1, 2, 1, PAGES)] * 4))
        has(text, "reaches the worker core at (7, 2), which does not run the program")

    def test_corners_in_the_wrong_order(self):
        text = fails(wrong("get_noc_multicast_addr(x0, y0, x1, y1, l1)", "get_noc_multicast_addr(x1, y0, x0, y1, l1)"))
        has(text, "NoC 0 cannot multicast from", "smallest coordinates first")

    def test_room_that_was_not_reserved(self):
        source = changed(
            READER, "        cb_reserve_back(0, 1);\n", "        if (destinations > 0) cb_reserve_back(0, 1);\n"
        )
        text = fails(program(source))
        has(text, "core (1, 1) has reserved 0 pages", "circular buffer 0 'in0'")

    def test_a_push_before_the_block_has_arrived(self):
        text = fails(wrong("            noc_semaphore_wait(arrived, 1);\n", ""))
        has(text, "a read of L1 that was never written", "circular buffer 0 'in0'")

    def test_a_flag_of_another_core_says_nothing_of_the_data(self):
        # The last core of the row tells the others that data is there which the sender has sent.
        source = changed(READER, "noc_semaphore_set(arrived, 1);\n", "continue_on_core(sender_x);\n")
        source = changed(
            source, "            const uint32_t flag", "            if (false) {\n            const uint32_t flag"
        )
        source = changed(source, "flag), destinations);\n", "flag), destinations);\n            }\n")
        source = changed(
            source, "continue_on_core(sender_x);\n", "noc_semaphore_inc(get_noc_addr(x1, y1, get_semaphore(0)), 1);\n"
        )
        source = changed(
            source,
            "            noc_semaphore_wait(arrived, 1);\n",
            """            if (get_arg_val<uint32_t>(0) == 9) {
                noc_semaphore_wait(ready, 1);
                noc_semaphore_set(ready, 0);
                noc_semaphore_inc(get_noc_addr(x0, y0, get_semaphore(1)), 1);
                noc_semaphore_inc(get_noc_addr(x0 + 2, y0, get_semaphore(1)), 1);
            } else {
                noc_semaphore_wait(arrived, 1);
            }
""",
        )
        text = fails(program(source))
        has(text, "cb_push_back of a page whose multicast (line 19 of its sender) may not have arrived")

    def test_an_overtaken_block_on_blackhole(self):
        made = wrong("            noc_async_writes_flushed();\n", "", device="blackhole_p150")
        has(
            fails(made), "the semaphore may overtake the data multicast before it (line 19)", "noc_async_writes_flushed"
        )

    def test_a_block_overwritten_on_its_way_out(self):
        text = fails(wrong("            noc_async_writes_flushed();\n", ""))
        has(text, "L1 is overwritten while a NoC write still reads it")

    def test_a_multicast_of_what_has_not_been_read(self):
        text = fails(wrong("            noc_async_read_barrier();\n", ""))
        has(text, "L1 is read before the NoC read or multicast into it has arrived")

    def test_a_multicast_of_what_has_not_been_read_beside_what_was_written(self):
        text = fails(program(changed(FILLED, "            noc_async_read_barrier();\n", "")))
        has(text, "L1 is read before the NoC read or multicast into it has arrived")

    def test_an_increment_in_flight_at_the_end(self):
        text = fails(wrong("    noc_async_atomic_barrier();\n", ""))
        has(text, "noc_semaphore_inc (line", "noc_async_atomic_barrier is missing")

    def test_a_multicast_in_flight_at_the_end(self):
        text = fails(wrong("    noc_async_write_barrier();\n", ""))
        has(text, "noc_async_write_barrier is missing")

    def test_a_block_that_nobody_waits_for(self):
        source = changed(
            READER,
            "    for (uint32_t page = 0;",
            "    if (destinations > 0) noc_semaphore_set(arrived, 1);\n    for (uint32_t page = 0;",
        )
        source = changed(
            source,
            "    noc_async_write_barrier();",
            """    if (destinations > 0) {
        noc_semaphore_wait(ready, destinations);
        cb_reserve_back(0, 1);
        const uint32_t l1 = get_write_ptr(0);
        noc_async_read_page(0, in0, l1);
        noc_async_read_barrier();
        noc_async_write_multicast(l1, get_noc_multicast_addr(x0, y0, x1, y1, l1), 2048, destinations);
    } else {
        cb_reserve_back(0, 1);
        noc_semaphore_inc(get_noc_addr(sender_x, sender_y, get_semaphore(0)), 1);
    }
    noc_async_write_barrier();""",
        )
        has(fails(program(source)), "ended without a wait for what core (2, 1) multicast")

    def test_a_semaphore_that_there_is_not(self):
        has(fails(wrong("get_semaphore(1);\n    for", "get_semaphore(7);\n    for")), "the program has no semaphore 7")

    def test_a_pointer_that_is_no_semaphore(self):
        text = fails(wrong("noc_semaphore_wait(ready, destinations)", "noc_semaphore_wait(ready + 1, destinations)"))
        has(text, "is no semaphore")

    def test_an_increment_of_no_core(self):
        text = fails(wrong("get_noc_addr(sender_x, sender_y,", "get_noc_addr(sender_x + 5, sender_y,"))
        has(text, "no core of the program is at NoC coordinates (8, 2)")

    def test_a_multicast_to_an_ordinary_address(self):
        text = fails(wrong("get_noc_multicast_addr(x0, y0, x1, y1, l1)", "get_noc_addr(sender_x, sender_y, l1)"))
        has(text, "get_noc_multicast_addr did not give")

    def test_a_loop_back_from_outside(self):
        groups = [(2, 1, 4, 1, 1, 1, PAGES)] * 4
        source = changed(READER, "noc_async_write_multicast(l1", "noc_async_write_multicast_loopback_src(l1")
        has(
            fails(program(changed(source, "wait(ready, destinations)", "wait(ready, 3)"), groups=groups)),
            "cannot loop back",
        )


def test_a_sender_outside_of_the_rectangle():
    """The others of a row, in a rectangle without the sender."""
    source = changed(READER, "noc_semaphore_wait(ready, destinations)", "noc_semaphore_wait(ready, 3)")
    source = source.replace("2048, destinations)", "2048, 3)").replace("flag), destinations)", "flag), 3)")
    run(program(source, groups=[(2, 1, 4, 1, 1, 1, PAGES)] * 4))


def test_programs_without_semaphores_are_as_before():
    spec, sources = stream_program(
        [tensor("a", (32, 128), BF16, "in")], tensor("c", (32, 128), BF16, "out"), COPY, cores=4
    )
    a, c = np.arange(4096).reshape(32, 128).astype(BF16), np.zeros((32, 128), BF16)
    assert emulator.run(spec, sources, [a, c]).noc.l1_multicast == 0
    assert (a == c).all()
