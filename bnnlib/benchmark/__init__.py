"""Benchmarks of prediction and training: contestants, timing, and the record of a run."""
