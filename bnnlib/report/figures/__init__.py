"""The figures, alike in style, the same bytes each time."""
