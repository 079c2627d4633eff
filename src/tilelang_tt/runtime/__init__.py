"""Running compiled programs. Needs neither tilelang nor torch."""
