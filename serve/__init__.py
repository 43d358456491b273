"""Sightings and looks in, cases out, and every door to the outside."""
