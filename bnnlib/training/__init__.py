"""Training: the loop, batches and augmentation, optimizers, progress."""

# The folders and files of the package that decide what a training gives.
CODE = (
    "config/spec.py",
    "config/topology.py",
    "core/runtime.py",
    "data/mnist.py",
    "data/splits.py",
    "nn",
    "scoring",
    "training",
)
