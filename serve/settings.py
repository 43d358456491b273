"""Everything that can be set, with bounds: from the environment (JIEJING_…), an .env file, or the command line."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serve.errors import SettingsError


class Settings(BaseSettings):
    """The settings of one server or worker."""

    # Of an .env file only our own lines count: others put theirs into it too. One that is mistyped is an error.
    model_config = SettingsConfigDict(
        env_prefix="JIEJING_", env_file=".env", dotenv_filtering="match_prefix", extra="forbid", frozen=True
    )

    data: Path = Field(Path("var/data"), description="Folder for the database, uploads and evidence pictures.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite in the data folder when left away.")
    jobs_url: str | None = Field(None, description="Database of the job queue; SQLite in the data folder by default.")
    store_url: str | None = Field(
        None, description="Object store for files, such as s3://bucket/prefix; the data folder when left away."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; another than loopback needs an API key.")
    port: int = Field(8311, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_key: SecretStr | None = Field(None, min_length=16, description="Key that every route but health then needs.")
    require_keys: bool = Field(
        False, description="Ask for a key of `jiejing keys` or a person's token, on this machine too."
    )
    oidc_issuer: str | None = Field(None, min_length=1, description="Issuer of people's tokens (OpenID Connect).")
    oidc_audience: str | None = Field(None, min_length=1, description="What the tokens' `aud` must name.")
    oidc_jwks: str | None = Field(None, min_length=1, description="The issuer's key set: address or file.")
    oidc_roles_claim: str = Field("roles", min_length=1, description="Claim with the person's roles; dots go deeper.")
    oidc_jurisdiction_claim: str | None = Field(
        None, min_length=1, description="Claim with the person's jurisdiction; this server's own without it."
    )
    oidc_area_claim: str | None = Field(
        None, min_length=1, description="Claim with the first digits of the grid cells that the person may see."
    )
    requests_per_minute: int = Field(
        6000, ge=1, le=10_000_000, description="Requests a minute of one caller, once callers are told apart."
    )
    jurisdiction: str = Field(
        "000000",
        pattern=r"^[0-9A-Za-z_-]{1,20}$",
        description="Whose books this server keeps: the division code of the city or district.",
    )
    place_name: str = Field("", max_length=60, description="Name of the city or district, shown in the console.")
    model: str | None = Field(None, description="Model folder or name; the shipped default when left away.")
    matters_file: Path | None = Field(None, description="The city's own table of matters.")
    base_map: Path | None = Field(None, description="GeoJSON drawn under the cases.")
    keep_originals_days: float = Field(
        7.0, ge=0, le=3650, description="Days that uploaded pictures are kept after processing, for re-processing."
    )
    originals_key: SecretStr | None = Field(
        None,
        description="32 bytes in base64, with which originals are kept encrypted.",
    )
    keep_unfinished_days: float = Field(
        30.0, ge=0, le=3650, description="Days that patrols are kept that failed or never arrived completely."
    )
    keep_evidence_days: float = Field(
        730.0, ge=0, le=36500, description="Days that evidence pictures are kept, once no open case needs them."
    )
    keep_tracks_days: float = Field(365.0, ge=0, le=36500, description="Days that it is kept where a vehicle drove.")
    keep_views_days: float = Field(
        1095.0, ge=0, le=36500, description="Days that it is kept who looked at an original."
    )
    max_file_bytes: int = Field(8 * 1024**3, ge=1, description="Largest file that a patrol may announce.")
    max_files: int = Field(50_000, ge=1, le=1_000_000, description="Most files in one patrol.")
    vehicle_quota_bytes: int = Field(
        512 * 1024**3, ge=1, description="Most bytes of one vehicle's patrols that are announced or kept."
    )
    max_waiting: int = Field(10_000, ge=1, description="Patrols waiting for a worker above which no new one is taken.")
    max_open_uploads: int = Field(64, ge=1, description="Files of one vehicle that may be on their way at a time.")
    max_transfers: int = Field(256, ge=1, description="Uploads that the server receives at the same moment.")
    min_free_bytes: int = Field(
        512 * 1024**2, ge=0, description="Bytes of disk below which uploads are refused, so that nothing else fails."
    )
    keep_uploads_days: float = Field(14.0, gt=0, le=365, description="Days after which an unfinished upload expires.")
    clock_tolerance_s: float = Field(300.0, ge=0, description="Seconds that a vehicle's clock may be fast.")
    max_detect_bytes: int = Field(64 * 1024**2, ge=1, description="Largest picture that /v1/detect takes.")
    max_attempts: int = Field(5, ge=1, le=100, description="Starts after which a patrol that kills its worker fails.")
    detector_threads: int = Field(2, ge=1, le=64, description="Pictures that one process looks at, at the same time.")
    worker_name: str = Field(
        "local", pattern=r"^[\w.-]{1,64}$", description="Name of this worker: one of its own in a fleet."
    )
    worker_jobs: int = Field(1, ge=1, le=64, description="Patrols that one worker processes at a time.")

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        object.__setattr__(self, "data", self.data.expanduser().absolute())
        if len({value is None for value in (self.oidc_issuer, self.oidc_audience, self.oidc_jwks)}) > 1:
            raise ValueError("oidc_issuer, oidc_audience and oidc_jwks belong together")
        return self

    @property
    def guarded(self) -> bool:
        """Whether callers must say who they are."""
        return self.require_keys or self.api_key is not None or self.oidc_issuer is not None

    @property
    def database(self) -> str:
        """The URL of the main database."""
        return self.database_url or f"sqlite:///{self.data / 'jiejing.sqlite'}"

    @property
    def jobs(self) -> str:
        """The URL of the job queue's database."""
        return self.jobs_url or f"sqlite:///{self.data / 'jobs.sqlite'}"

    def refuse_open_door(self) -> None:
        """Raise SettingsError when the server would listen beyond this machine without a key."""
        if not self.guarded and not is_loopback(self.host):
            raise SettingsError(
                f"refusing to listen on {self.host} without an API key",
                remedy="set JIEJING_API_KEY to a secret of at least 16 characters, or JIEJING_REQUIRE_KEYS=true with"
                " keys of `jiejing keys create`, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
