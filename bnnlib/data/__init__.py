"""The data sets: names and constants, IDX files, splits, where the raw files come from."""
