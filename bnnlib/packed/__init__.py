"""The 1-bit network without torch: packed file format, NumPy reference engine, XNOR-popcount engine."""
