"""The science of the study: data, quantizers, networks, training, scores, and the edges that touch disk."""
