"""From a persistent function's TIR to a tile program."""
