"""Scores of a classifier: the confusion matrix, macro-F1, loss."""
