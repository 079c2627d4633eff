"""Streams, circular buffers and their C++."""
