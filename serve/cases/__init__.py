"""The rules: merge, lifecycle, clocks, grid, verification, scores. Pure: no web, no database, no vision."""
