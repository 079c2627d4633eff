"""The ttnn executor: runs compiled programs on Tenstorrent devices. Needs ttnn and numpy, neither tilelang nor torch.

``TtnnProgram(spec, sources, device).run(tensors)`` runs a program on an open ttnn device. ``layout_of(tensor)`` says
where a ttnn tensor lives in the words of ``annotate_tt_layout``, ``device_of(device)`` what an open device is to the
compiler. ttnn is imported when one of them is first called.
"""

from .devices import device_of
from .layouts import layout_of
from .program import TtnnProgram

__all__ = ["TtnnProgram", "device_of", "layout_of"]
