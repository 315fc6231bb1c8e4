"""The benchmark of training: our loop beside the baseline's."""
