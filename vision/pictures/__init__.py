"""Pictures and videos: from disk at the size that is wanted, judged, hidden, drawn upon."""
