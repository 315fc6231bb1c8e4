"""The 1-bit network without torch: its file format, the reference engine in NumPy, the fast engine."""
