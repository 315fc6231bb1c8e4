"""From the trained network to the packed one, to C and to ONNX, and a check that all compute the same."""
