"""Search: the best shape of a network with a given number of weight bytes."""
