"""Simulated cities of known truth, and cases measured against them."""
