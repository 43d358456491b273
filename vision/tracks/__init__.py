"""Where the vehicle was: receivers' files, their faults, the smoothed path, and the camera's clock."""
