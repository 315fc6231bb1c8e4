"""Sweeps: trainings over a grid, their workers, their tables."""
