"""Training: the loop, batches and augmentation, optimizers, progress."""
