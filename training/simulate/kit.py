"""What every builder of things gets: one source of chance and one store of drawn textures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from training.simulate.mesh import Material
from training.simulate.textures import Picture

T = TypeVar("T")


class Kit:
    """Draws by chance; keeps the textures that were drawn, by name, for the renderer."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.images: dict[str, Picture] = {}

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.rng.uniform() < share)

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[int(self.rng.integers(len(choices)))]

    def image(self, make: Callable[[np.random.Generator], Picture], rough: float = 0.6, share: int = 0) -> Material:
        """A material that shows a drawn picture; with `share`, at most that many pictures of this maker exist and
        are used again."""
        kind = make.__name__
        drawn = [name for name in self.images if name.startswith(f"{kind}_")]
        if share and len(drawn) >= share:
            return Material("image", image=self.one(drawn), rough=rough)
        name = f"{kind}_{len(self.images)}"
        self.images[name] = make(self.rng)
        return Material("image", image=name, rough=rough)

    def board(
        self, make: Callable[[np.random.Generator, float], Picture], aspect: float, rough: float = 0.5
    ) -> Material:
        """A material that shows a picture of the given width / height."""
        name = f"{make.__name__}_{len(self.images)}"
        self.images[name] = make(self.rng, aspect)
        return Material("image", image=name, rough=rough)
