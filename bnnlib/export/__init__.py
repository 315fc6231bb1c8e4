"""Ways out of torch: the packed network, C, ONNX, and the proof that all compute the same."""
