"""What a patrol consists of: its way, its frames in order, which of them to look at and which to keep."""
