"""The backend that TileLang's own entry points use for target ``tenstorrent``.

Laid out as TileLang's own backends are: ``target`` (what the user may say, as a TVM target), ``pipeline`` (the lowering
as a whole), ``codegen`` (the kernels' text), ``host_entry`` (what a compiled kernel calls to run) and ``backend`` (the
manifest of all of it).
"""
