"""The durable pipeline from an uploaded patrol to cases."""
