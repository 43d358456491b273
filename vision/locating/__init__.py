"""From boxes of many frames to standing things: following, solving, joining, and how sure it is."""
