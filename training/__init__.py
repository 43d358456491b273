"""Labelled pictures in, published models out: data sets, the simulator, training and both evaluations."""
