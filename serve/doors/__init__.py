"""One file per protocol that outsiders speak."""
