"""TileLang on Tenstorrent."""
