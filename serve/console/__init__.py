"""The page with the map: templates and the static build."""
