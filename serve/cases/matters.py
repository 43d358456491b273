"""The table of matters: what the city calls a class, and when a sighting of it opens a case."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

CLOSERS = ("propose", "machine")


@dataclass(frozen=True, slots=True)
class Matter:
    """One row of the table; the fields are explained in `matters.toml`."""

    class_name: str
    kin: str
    opens: bool
    code: str = ""
    name: str = ""
    name_en: str = ""
    why_not: str = ""
    min_score: float = 0.0
    min_frames: int = 1
    max_radius_m: float = 5.0
    file_from_score: float = 1.0
    spread_m: float = 0.3
    miss_rate: float = 0.05
    miss_weight: float = 4.0
    gone_below: float = 0.01
    closes: str = "propose"
    mistaken_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.opens and not (len(self.code) == 5 and self.code.isdigit() and self.name):
            raise ValueError(f"class {self.class_name}: a matter that opens cases needs a name and a 5-digit code")
        if not self.opens and not self.why_not:
            raise ValueError(f"class {self.class_name}: say in why_not why it opens no case")
        if not (0 <= self.min_score <= 1 and 0 <= self.file_from_score <= 1):
            raise ValueError(f"class {self.class_name}: scores lie between 0 and 1")
        if self.min_frames < 1 or self.spread_m < 0 or self.max_radius_m <= 0:
            raise ValueError(
                f"class {self.class_name}: min_frames is at least 1, spread_m not negative, max_radius_m above 0"
            )
        if not (0 < self.miss_rate < 1 and 0 < self.gone_below < 1 and self.miss_weight > 0):
            raise ValueError(
                f"class {self.class_name}: miss_rate and gone_below lie between 0 and 1, miss_weight above 0"
            )
        if self.closes not in CLOSERS:
            raise ValueError(f"class {self.class_name}: closes is one of {', '.join(CLOSERS)}, not {self.closes!r}")


@dataclass(frozen=True, slots=True)
class Matters:
    """The whole table; `standard` says where the codes come from."""

    standard: str
    by_class: Mapping[str, Matter]

    def of(self, class_name: str) -> Matter:
        """The row of a class; a class that the table does not know opens no case and says so."""
        known = self.by_class.get(class_name)
        return known or Matter(class_name, class_name, False, why_not=f"the table of matters has no row {class_name!r}")


def read_matters(path: Path | None = None) -> Matters:
    """The table from `path`, or the one that ships with Jiejing.

    Raises ValueError with the row at fault when the table is wrong, OSError when the file cannot be read.
    """
    text = (
        path.read_text("utf-8") if path else resources.files("serve.cases").joinpath("matters.toml").read_text("utf-8")
    )
    table = tomllib.loads(text)
    rows: dict[str, Any] = table.get("class", {})
    allowed = {field.name for field in fields(Matter)} - {"class_name"}
    for name, row in rows.items():
        if unknown := sorted(set(row) - allowed):
            raise ValueError(f"class {name}: unknown {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
        if missing := sorted({"kin", "opens"} - set(row)):
            raise ValueError(f"class {name}: {', '.join(missing)} missing")
        if unknown := sorted(set(row.get("mistaken_for", ())) - set(rows)):
            raise ValueError(f"class {name}: mistaken_for names {', '.join(unknown)}, which the table does not have")
    return Matters(
        standard=str(table.get("standard", "")),
        by_class={
            name: Matter(name, **{**row, "mistaken_for": tuple(row.get("mistaken_for", ()))})
            for name, row in rows.items()
        },
    )
