"""From a source's class names to ours."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from training.errors import DatasetError
from training.labels.kinds import LabelFault
from vision.taxonomy import CLASS_IDS, CLASSES

IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class ClassMap:
    """`given`: their name -> ours, `ignore` (a region where nothing counts), or "" (not a thing of ours).

    Names that are ours already map onto themselves unless they are given.
    """

    given: Mapping[str, str] = field(default_factory=dict)

    def ours(self, name: str) -> str | None:
        """Our class, `ignore`, "" for a box to drop, or None when the map does not know the name."""
        return self.given.get(name, name if name in CLASS_IDS or name == IGNORE else None)

    def known(self, names: Iterable[str]) -> frozenset[str]:
        """The classes of ours that a source labelling `names` knows."""
        return frozenset(ours for name in names if (ours := self.ours(name)) in CLASS_IDS and ours is not None)

    def faults(self) -> list[LabelFault]:
        """Targets that are no class of ours."""
        return [
            LabelFault("class-map-target", f"class map, {theirs}", f"{ours!r} is none of {', '.join(CLASSES)}")
            for theirs, ours in self.given.items()
            if ours and ours != IGNORE and ours not in CLASS_IDS
        ]


def read_class_map(words: Iterable[str]) -> ClassMap:
    """The map of `theirs=ours` words and of TOML files (a table `[class_map]`, or plain keys).

    Raises DatasetError when a word is neither.
    """
    given: dict[str, str] = {}
    for word in words:
        path = Path(word)
        if path.suffix == ".toml":
            try:
                raw = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise DatasetError(f"{path}: {error}", remedy='write lines such as "trash bag" = "garbage"') from None
            given |= {str(key): str(value) for key, value in raw.get("class_map", raw).items()}
            continue
        theirs, equals, ours = word.rpartition("=")
        if not equals or not theirs:
            raise DatasetError(f"--class-map {word}", remedy="write theirs=ours, or name a .toml file")
        given[theirs.strip()] = ours.strip()
    return ClassMap(given)
