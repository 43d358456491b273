"""The tables. Nothing here is particular to one database; every table that holds a city's data carries its
jurisdiction or hangs on one that does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment, kept in UTC; comes back with its zone also from databases that keep none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To UTC. Raises ValueError for a moment without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """From UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str = "id", **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(40), **options)


def _patrol() -> sa.Column[str]:
    return sa.Column("patrol_id", sa.ForeignKey("patrols.id", ondelete="CASCADE"), nullable=False, index=True)


# One row per city or district; writers that fit a patrol into the books take turns by updating it.
jurisdictions = sa.Table(
    "jurisdictions",
    metadata,
    sa.Column("code", sa.String(20), primary_key=True),
    sa.Column("merges", sa.BigInteger, nullable=False, server_default="0"),
)

patrols = sa.Table(
    "patrols",
    metadata,
    _id(primary_key=True),
    sa.Column("jurisdiction", sa.String(20), nullable=False),
    sa.Column("vehicle", sa.String(64), nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("camera", sa.Text),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("state", sa.String(12), nullable=False, index=True),
    # Counts the times that processing was asked for; a job of an older generation changes nothing any more.
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    # Counts the starts of this generation, those after a crash included: a patrol that kills its worker is set aside.
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    # Counts how often this generation was given back: by a worker that was asked to stop, or after an error of ours.
    sa.Column("handbacks", sa.Integer, nullable=False, server_default="0"),
    # After an error of ours: not before this moment again, and what it was.
    sa.Column("retry_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("originals_deleted_at", UtcDateTime),
    sa.Column("model", sa.String(200)),
    sa.Column("frames_total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("frames_read", sa.Integer, nullable=False, server_default="0"),
    sa.Column("frames_judged", sa.Integer, nullable=False, server_default="0"),
    sa.Column("frames_skipped", sa.Integer, nullable=False, server_default="0"),
    sa.Column("assumptions", sa.JSON, nullable=False),
    # Where the vehicle drove: [[longitude, latitude], …], thinned out for drawing.
    sa.Column("path", sa.JSON, nullable=False),
    sa.UniqueConstraint("jurisdiction", "vehicle", "started_at"),
)

files = sa.Table(
    "files",
    metadata,
    _patrol(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("received_at", UtcDateTime),
    sa.PrimaryKeyConstraint("patrol_id", "name"),
    sa.Index("ix_files_patrol_id_sha256", "patrol_id", "sha256"),
    # What is missing is counted with every file that arrives.
    sa.Index("ix_files_patrol_id_received_at", "patrol_id", "received_at", "sha256"),
)

# Files on their way. Bytes lie in the spool under the upload's id until the last one has arrived.
uploads = sa.Table(
    "uploads",
    metadata,
    _id(primary_key=True),
    _patrol(),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("filename", sa.String(255), nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    sa.Column("finished_at", UtcDateTime),
)

# What was answered to a POST with an Idempotency-Key, to be answered again.
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("jurisdiction", sa.String(20), nullable=False),
    # SHA-256 over the caller and the key that came.
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.JSON),
    sa.Column("body", sa.JSON),
    sa.Column("recorded_at", UtcDateTime, nullable=False, index=True),
    sa.PrimaryKeyConstraint("jurisdiction", "key"),
)

# The workers' leases: one that has not been renewed for a while belongs to a dead process.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("machine", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    # Seconds since 1970 by the database's own clock, since the machines' clocks may differ.
    sa.Column("seen_s", sa.Float, nullable=False),
)

faults = sa.Table(
    "faults",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    _patrol(),
    sa.Column("file", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("remedy", sa.Text, nullable=False),
)

cases = sa.Table(
    "cases",
    metadata,
    _id(primary_key=True),
    sa.Column("jurisdiction", sa.String(20), nullable=False),
    sa.Column("class_name", sa.String(40), nullable=False),
    sa.Column("matter_code", sa.String(5), nullable=False),
    sa.Column("matter_name", sa.String(100), nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("longitude_deg", sa.Float, nullable=False),
    sa.Column("latitude_deg", sa.Float, nullable=False),
    sa.Column("error_radius_m", sa.Float, nullable=False),
    sa.Column("cell", sa.BigInteger, nullable=False, index=True),
    sa.Column("first_seen", UtcDateTime, nullable=False),
    sa.Column("last_seen", UtcDateTime, nullable=False),
    sa.Column("sightings", sa.Integer, nullable=False),
    sa.Column("opened_by", sa.String(40), nullable=False),
    sa.Column("model", sa.String(200)),
    # Of the cell of the grid that holds the place, like `cell` projected anew with every event; null outside of all.
    sa.Column("grid_id", sa.String(15)),
    sa.Column("unit", sa.String(100)),
    sa.Column("due_at", UtcDateTime),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("ix_cases_jurisdiction_first_seen", "jurisdiction", "first_seen", "id"),
    sa.Index("ix_cases_jurisdiction_grid_id", "jurisdiction", "grid_id"),
    sa.Index("ix_cases_jurisdiction_latitude", "jurisdiction", "latitude_deg", "longitude_deg"),
)

# The city's unit grid, each cell with the bounds by which it is found; `outline`: GeoJSON geometry, WGS 84.
grid_cells = sa.Table(
    "grid_cells",
    metadata,
    sa.Column("jurisdiction", sa.String(20), nullable=False),
    sa.Column("id", sa.String(15), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("unit", sa.String(100)),
    sa.Column("west", sa.Float, nullable=False),
    sa.Column("south", sa.Float, nullable=False),
    sa.Column("east", sa.Float, nullable=False),
    sa.Column("north", sa.Float, nullable=False),
    sa.Column("outline", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("jurisdiction", "id"),
    sa.Index("ix_grid_cells_jurisdiction_south", "jurisdiction", "south", "north"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("case_id", sa.ForeignKey("cases.id"), nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # The exact text that was hashed, not a JSON column: a database may spell JSON anew.
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.PrimaryKeyConstraint("case_id", "seq"),
)

sightings = sa.Table(
    "sightings",
    metadata,
    _id(primary_key=True),
    _patrol(),
    sa.Column("class_name", sa.String(40), nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("longitude_deg", sa.Float, nullable=False),
    sa.Column("latitude_deg", sa.Float, nullable=False),
    sa.Column("error_radius_m", sa.Float, nullable=False),
    sa.Column("covariance_ee_m2", sa.Float, nullable=False),
    sa.Column("covariance_en_m2", sa.Float, nullable=False),
    sa.Column("covariance_nn_m2", sa.Float, nullable=False),
    sa.Column("shared_sigma_m", sa.Float, nullable=False),
    sa.Column("frames", sa.Integer, nullable=False),
    sa.Column("first_seen", UtcDateTime, nullable=False),
    sa.Column("last_seen", UtcDateTime, nullable=False),
    sa.Column("width_m", sa.Float),
    sa.Column("height_m", sa.Float),
    sa.Column("case_id", sa.ForeignKey("cases.id"), index=True),
    sa.Column("why_no_case", sa.Text),
)

looks = sa.Table(
    "looks",
    metadata,
    _id(primary_key=True),
    _patrol(),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("quality", sa.Float, nullable=False),
    sa.Column("ring_lonlat", sa.JSON, nullable=False),
)

look_cells = sa.Table(
    "look_cells",
    metadata,
    sa.Column("cell", sa.BigInteger, nullable=False),
    sa.Column("look_id", sa.ForeignKey("looks.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.PrimaryKeyConstraint("cell", "look_id"),
)

# Which patrols had a good view of a case without it: the projection of the `not_seen` events that still hold.
views = sa.Table(
    "views",
    metadata,
    sa.Column("case_id", sa.ForeignKey("cases.id"), nullable=False),
    sa.Column("patrol_id", sa.String(40), nullable=False, index=True),
    sa.PrimaryKeyConstraint("case_id", "patrol_id"),
)

evidence = sa.Table(
    "evidence",
    metadata,
    _id(primary_key=True),
    _patrol(),
    sa.Column("frame", sa.String(255), nullable=False),
    sa.Column("taken_at", UtcDateTime),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("person_over_evidence", sa.Boolean, nullable=False),
)

# The sightings' boxes in pixels of the evidence picture; `rank` 0 is the best picture of the sighting.
evidence_boxes = sa.Table(
    "evidence_boxes",
    metadata,
    sa.Column("evidence_id", sa.ForeignKey("evidence.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("sighting_id", sa.ForeignKey("sightings.id", ondelete="CASCADE"), nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("x_min", sa.Float, nullable=False),
    sa.Column("y_min", sa.Float, nullable=False),
    sa.Column("x_max", sa.Float, nullable=False),
    sa.Column("y_max", sa.Float, nullable=False),
    sa.PrimaryKeyConstraint("sighting_id", "rank"),
)

# Operators' decisions about what a model saw, one row per box. What was judged is written out, since a patrol that is
# processed anew gets new sightings and pictures; `id` is the place in the export.
feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("decision_id", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("jurisdiction", sa.String(20), nullable=False),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    sa.Column("verdict", sa.String(10), nullable=False),
    sa.Column("case_id", sa.String(40)),
    sa.Column("sighting_id", sa.String(40), nullable=False),
    sa.Column("evidence_id", sa.String(40), nullable=False),
    sa.Column("patrol_id", sa.String(40), nullable=False),
    sa.Column("picture_sha256", sa.String(64), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("person_over_evidence", sa.Boolean, nullable=False),
    sa.Column("taken_at", UtcDateTime),
    sa.Column("model", sa.String(200)),
    sa.Column("class_name", sa.String(40), nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    # Pixels of the evidence picture: [x_min, y_min, x_max, y_max].
    sa.Column("box", sa.JSON, nullable=False),
    sa.Column("new_class", sa.String(40)),
    sa.Column("new_box", sa.JSON(none_as_null=True)),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("decision_id", "number"),
    sa.Index("ix_feedback_jurisdiction_id", "jurisdiction", "id"),
)

# Keys of devices and systems. The secret itself is not kept; after a rotation the one before is good for a while.
api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    sa.Column("jurisdiction", sa.String(20), nullable=False, index=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    # Only these of the role's scopes; all of them when null.
    sa.Column("scopes", sa.JSON(none_as_null=True)),
    # Bound to grid cells whose ids begin so; to one vehicle's patrols.
    sa.Column("area", sa.String(15), nullable=False),
    sa.Column("vehicle", sa.String(64)),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("previous_sha256", sa.String(64)),
    sa.Column("previous_until", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("last_used_at", UtcDateTime),
)

# Every look at an original. It outlives the patrol, so nothing ties it to one.
original_views = sa.Table(
    "original_views",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("jurisdiction", sa.String(20), nullable=False, index=True),
    sa.Column("patrol_id", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("viewed_at", UtcDateTime, nullable=False),
)
