"""The commands of vision."""
