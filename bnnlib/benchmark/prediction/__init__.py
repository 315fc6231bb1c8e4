"""The benchmark of prediction: the packed engines beside torch and onnxruntime."""
