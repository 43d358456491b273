"""Uploads and patrols."""
