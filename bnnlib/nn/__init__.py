"""The network in plain torch: quantizers, layers, the convnet, its published form on disk."""
