"""From pixels to boxes: the model folder, the runtime, and the processes that run it."""
