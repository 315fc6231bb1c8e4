"""Random bit errors in a stored network: which bits there are, what it answers with some of them flipped."""
