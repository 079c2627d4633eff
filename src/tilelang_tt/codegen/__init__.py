"""From a persistent function to a program: tile program -> three instruction streams -> C++ sources and a
ProgramSpec."""
