"""Every function attribute that the passes read or write, spelled once."""

from __future__ import annotations

from typing import Final

# Given by the user.
USER_LAYOUT: Final = "tt.user_layout"
USER_SCHEDULE: Final = "tt.user_schedule"
# The schedule's key for the representative sizes of symbolic dimensions.
DYNAMIC_KEY: Final = "dynamic"

# Keys of the schedule that say how a kernel computes, not where.
MATH_FIDELITY: Final = "math_fidelity"
DST_TYPE: Final = "dst_dtype"
FLOAT16_AS: Final = "float16_as"

# The device the function is compiled for, by name or as a plain dictionary (see devices.Device.to_dict).
DEVICE: Final = "tt.device"

# The schedule's key for what holds for one grid of a function that launches several.
GRIDS_KEY: Final = "grids"
# The schedule's key for tensors that are multicast.
MULTICAST_KEY: Final = "multicast"

# Written by SplitGridsTT for the function that it makes of a grid: the function that launches it, and its number there.
GRID_OF: Final = "tt.grid_of"

# The legacy schedule: a contiguous row-major [start, count] per core.
GRID_X: Final = "tt_grid_x"
GRID_Y: Final = "tt_grid_y"
GRID_Z: Final = "tt_grid_z"
NUM_CORES: Final = "tt_num_cores"
TILES_PER_CORE: Final = "tt_tiles_per_core"

# Written by InferTTLayout and PropagateTTLayout, one per tensor parameter.
BUFFER_PREFIX: Final = "tt.buffer."
CB_PREFIX: Final = "tt.cb."

# Written by InferTTCompute: how the engines run, math_fidelity and dst_dtype as the schedule has them.
COMPUTE: Final = "tt.compute"

# Written by LayoutAwareWorkPartitionTT.
PARTITION_MODE: Final = "tt.partition_mode"
GRID_TILES: Final = "tt.grid_tiles"
SHARD_GRID: Final = "tt.shard_grid"
LOCAL_SHAPE_TILES: Final = "tt.local_shape_tiles"
RUNTIME_ARG_NAMES: Final = "tt.runtime_arg_names"
RUNTIME_CONSTANTS: Final = "tt.runtime_constants"
CORE_RANGES: Final = "tt.core_ranges"
CORE_RUNTIME_ARGS: Final = "tt_core_runtime_args"
# Additions of this package (see docs/architecture.md): the buffer whose shards decided the partition, and every buffer
# whose shards lie on the cores that work on them, so that they are used in place.
DRIVING_BUFFER: Final = "tt.driving_buffer"
RESIDENT_BUFFERS: Final = "tt.resident_buffers"
# How work tiles are shared out over cores in global mode (contiguous where absent), and how they are numbered: over the
# plane in global mode, within a core's shard in local_shard mode (row_major where absent). See partition/policies.py.
POLICY: Final = "tt.policy"
ORDER: Final = "tt.order"
# Tensors whose blocks one core of a group reads and multicasts to the others (none where absent).
MULTICAST: Final = "tt.multicast"
# Of kernels with symbolic sizes: the sizes that the attributes above are for, and the launch grid and reduction steps
# as expressions (see sizes.py).
DYNAMIC: Final = "tt.dynamic"
# The parameters that are numbers and decide the launch grid, by name: symbolic sizes whose value a call gives.
NUMBERS: Final = "tt.numbers"

# Written in front of all passes for a tensor of a dtype that the engines do not compute with: the caller's dtype.
HOST_PREFIX: Final = "tt.host."

# Written by InferTTStorage for a tensor that is stored as a view of itself (layout/storage.py): shape, split and order.
STORAGE_PREFIX: Final = "tt.storage."

# Written by GridToPersistentTT: thread tag (blockIdx.x ...) -> name of the variable that its loop recovers it in.
BLOCK_VARS: Final = "tt.block_vars"

# Written by GridToPersistentTT: the number of reduction steps of the K loop, which runs to Kt from then on.
REDUCTION_STEPS: Final = "tt.reduction_steps"

# Canonical runtime arguments, in their order.
START_TILE: Final = "tt_start_tile"
TILE_COUNT: Final = "tt_tile_count"
SHARD_COORD_Y: Final = "tt_shard_coord_y"
SHARD_COORD_X: Final = "tt_shard_coord_x"
GLOBAL_ARGS: Final = (START_TILE, TILE_COUNT, "Mt", "Kt", "Nt")
LOCAL_SHARD_ARGS: Final = (*GLOBAL_ARGS, "Sm", "Sn", "Gy", "Gx", SHARD_COORD_Y, SHARD_COORD_X)
# Behind them, the same on every core: of a policy other than contiguous, how many consecutive tile numbers a core
# visits at a time and how far apart those runs start; of an order other than row_major, rows and columns of a block of
# the numbering in work tiles.
RUN_TILES: Final = "tt_run_tiles"
RUN_STRIDE: Final = "tt_run_stride"
RUN_ARGS: Final = (RUN_TILES, RUN_STRIDE)
BLOCK_ARGS: Final = ("Bm", "Bn")

# Behind LOCAL_SHARD_ARGS, the same on every core: where cores hold several shards, how many at most, and how far the
# numbers sy * Gx + sx of two successive ones are apart. A core's shard coordinates are then those of its first shard.
SHARDS_PER_CORE: Final = "tt_shards_per_core"
SHARD_STEP: Final = "tt_shard_step"
SHARD_STEP_ARGS: Final = (SHARDS_PER_CORE, SHARD_STEP)

GLOBAL: Final = "global"
LOCAL_SHARD: Final = "local_shard"
