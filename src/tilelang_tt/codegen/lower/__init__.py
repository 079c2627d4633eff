"""From a tile program to the streams of the three kernels."""
