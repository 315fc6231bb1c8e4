"""MLflow: each stage is a run, and the runs of one pipeline run share a parent.

Nothing in `reports/` comes from here, and a store that fails costs a warning, never a result.
"""
