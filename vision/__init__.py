"""Pictures and a track in, sightings and looks out. Knows no web, no database and no trainer."""
