"""The race of training: our loop beside the baseline's."""
