"""Faults of the disk, one at each system call of the upload path."""
