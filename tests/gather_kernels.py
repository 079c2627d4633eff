"""Kernels that pick rows and elements of tensors by computed indices, or take regions between computed ends: each with
its reference and its number of outputs, for the emulator's tests and for those on chips."""

import tilelang.language as T
import torch
from control_kernels import Example

D, F = "bfloat16", "float32"


def regions_between_names():
    """Attention over one split of the keys: its ends are names, of other names."""

    @T.prim_func
    def kernel(K: T.Tensor((2, 128, 1, 64), D), C: T.Tensor((2, 4, 32, 64), D)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            k = T.alloc_shared((32, 64), D)
            for step in T.serial(2):
                half = by * 64
                first = half + step * 32
                last = half + (step + 1) * 32
                T.copy(K[bx, first:last, 0, :], k)
                T.copy(k, C[bx, by * 2 + step, :, :])

    return kernel, lambda k: k.reshape(2, 4, 32, 64), 1


def rows_by_index():
    """Sparse attention's keys: rows that a tensor of integers names, of a part of the columns, some of them masked."""

    @T.prim_func
    def kernel(
        K: T.Tensor((2, 80, 1, 96), D),
        rows: T.Tensor((2, 3, 64), "int32"),
        shift: T.Tensor((2, 3, 64), "int32"),
        C: T.Tensor((2, 3, 64, 64), D),
        E: T.Tensor((2, 3, 64, 32), D),
    ):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            k = T.alloc_shared((64, 64), D)
            tail = T.alloc_shared((64, 32), D)
            for i, j in T.Parallel(64, 64):
                k[i, j] = K[by, rows[by, bx, i], 0, j]
            for i, j in T.Parallel(64, 32):
                tail[i, j] = T.if_then_else(
                    rows[by, bx, i] <= 40, K[by, rows[by, bx, i] + shift[by, bx, i], 0, 64 + j], 0
                )
            T.copy(k, C[by, bx, :, :])
            T.copy(tail, E[by, bx, :, :])

    def picked(k, rows):
        inside = (rows >= 0) & (rows < 80)
        return torch.stack([k[b, rows[b].long().clamp(0, 79), 0] for b in range(2)]) * inside[..., None]

    def reference(k, rows, shift):
        return [picked(k, rows)[..., :64], picked(k, rows + shift)[..., 64:] * (rows <= 40)[..., None]]

    return kernel, reference, 2


H, W, CHANNELS, FEATURES = 12, 10, 32, 48


def convolution(dtype=D, channels=CHANNELS, stride=1, dilation=1, padding=1):
    """An image as a matrix by T.im2col, the weights and the result in other shapes of their memory."""
    height, width = ((size + 2 * padding - 2 * dilation - 1) // stride + 1 for size in (H, W))
    pixels = 2 * height * width

    @T.prim_func
    def kernel(
        image: T.Tensor((2, H, W, channels), dtype),
        weights: T.Tensor((3, 3, channels, FEATURES), dtype),
        C: T.Tensor((2, height, width, FEATURES), F),
    ):
        with T.Kernel(2, T.ceildiv(pixels, 64), threads=128) as (bx, by):
            seen = T.alloc_shared((64, 32), dtype)
            b = T.alloc_shared((32, 32), dtype)
            c = T.alloc_fragment((64, 32), F)
            flat = T.Tensor((9 * channels, FEATURES), dtype, weights.data)
            out = T.Tensor((pixels, FEATURES), F, C.data)
            T.clear(c)
            for k in T.Pipelined(T.ceildiv(9 * channels, 32), num_stages=2):
                T.im2col(image, seen, by, k, 3, stride, dilation, padding)
                T.copy(flat[k * 32, bx * 32], b)
                T.gemm(seen, b, c)
            T.copy(c, out[by * 64, bx * 32])

    def reference(image, weights):
        found = torch.conv2d(
            image.permute(0, 3, 1, 2), weights.permute(3, 2, 0, 1), stride=stride, padding=padding, dilation=dilation
        )
        return found.permute(0, 2, 3, 1)

    return kernel, reference, 1


def convolution_by_hand():
    """Two images of one channel: pixels one by one, and a stencil of rows that overlap."""

    @T.prim_func
    def kernel(image: T.Tensor((H, W), F), C: T.Tensor((H * W, 9), F), S: T.Tensor((H, W), F)):
        with T.Kernel(1, threads=128) as bx:
            seen = T.alloc_shared((H * W, 9), F)
            rows = T.alloc_fragment((H, W), F)
            for i, j in T.Parallel(H * W, 9):
                y = i // W + j // 3 - 1
                x = i % W + j % 3 - 1
                if y >= 0 and y < H and x >= 0 and x < W:
                    seen[i, j] = image[y, x]
                else:
                    seen[i, j] = 0
            for i, j in T.Parallel(H, W):
                rows[i, j] = image[i, j] - image[(i + 1) % H, W - 1 - j]
            T.copy(seen, C[bx, 0])
            T.copy(rows, S[bx, 0])

    def reference(image):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
        seen = [padded[y : y + H, x : x + W].reshape(-1) for y in range(3) for x in range(3)]
        return [torch.stack(seen, 1), image - image.roll(-1, 0).flip(1)]

    return kernel, reference, 2


def vectors_by_index():
    """A table's numbers by index, as a vector, along rows and along columns of a matrix, and with their transposes."""

    @T.prim_func
    def kernel(
        table: T.Tensor((100,), F), at: T.Tensor((64,), "int32"), A: T.Tensor((64, 64), F), C: T.Tensor((64, 64), F),
        V: T.Tensor((64,), F), E: T.Tensor((64, 64), F),
    ):  # fmt: skip
        with T.Kernel(1, threads=128) as bx:
            c = T.alloc_fragment((64, 64), F)
            e = T.alloc_fragment((64, 64), F)
            v = T.alloc_fragment((64,), F)
            for i in T.Parallel(64):
                v[i] = table[at[i]]
            for i, j in T.Parallel(64, 64):
                c[i, j] = A[i, j] * table[at[j]] + table[at[i]]
            for i, j in T.Parallel(64, 64):
                e[i, j] = A[at[j] % 64, i] + bx
            T.copy(v, V)
            T.copy(c, C)
            T.copy(e, E)

    def reference(table, at, a):
        picked = table[at.long()]
        return [a * picked + picked[:, None], picked, a[at.long() % 64].T]

    return kernel, reference, 3


def sequences_of_any_length():
    """Blocks over the first and the last dimension of tensors of symbolic length, and rows of one by index."""
    S, R = T.dynamic("s"), T.dynamic("r")

    @T.prim_func
    def kernel(
        A: T.Tensor((S, 3, 64), D),
        K: T.Tensor((R, 1, 96), D),
        at: T.Tensor((S,), "int32"),
        C: T.Tensor((S, 3, 64), F),
        E: T.Tensor((S, 3, 96), D),
    ):
        with T.Kernel(3, T.ceildiv(S, 32), threads=128) as (bx, by):
            a = T.alloc_fragment((32, 64), F)
            k = T.alloc_shared((32, 96), D)
            T.copy(A[by * 32 : by * 32 + 32, bx, :], a)
            for i, j in T.Parallel(32, 64):
                a[i, j] = a[i, j] * 2
            for i, j in T.Parallel(32, 96):
                k[i, j] = K[at[by * 32 + i], 0, j]
            T.copy(a, C[by * 32 : by * 32 + 32, bx, :])
            T.copy(k, E[by * 32 : by * 32 + 32, bx, :])

    return kernel, lambda a, k, at: [2 * a, k[at.long()].expand(-1, 3, -1)], 2


def examples():
    """All of them by name, with their inputs where these are not just random numbers."""
    torch.manual_seed(0)
    rows = {"rows": torch.randint(-5, 90, (2, 3, 64), dtype=torch.int32)}
    rows["shift"] = torch.randint(0, 9, (2, 3, 64), dtype=torch.int32)
    table = {"table": torch.randn(100), "at": torch.randint(0, 100, (64,), dtype=torch.int32)}
    return {
        "regions": Example(*regions_between_names()),
        "rows": Example(*rows_by_index(), rows),
        "convolution": Example(*convolution()),
        "convolution_float32": Example(*convolution(F, padding=2, dilation=2)),
        "convolution_16": Example(*convolution(D, 16)),
        "convolution_3": Example(*convolution(D, 3, stride=2, dilation=2, padding=0)),
        "convolution_64": Example(*convolution(D, 64, stride=2)),
        "by_hand": Example(*convolution_by_hand()),
        "vectors": Example(*vectors_by_index(), table),
    }
