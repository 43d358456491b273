"""A training run: configuration, network, loss, and the trainer."""
