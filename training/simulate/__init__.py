"""Streets that do not exist, with known truth: pictures, tracks, cameras."""
