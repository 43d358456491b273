"""What a patrol camera does to a picture: motion blur, noise, haze, rain, glare, a dirty lens, hard JPEG."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the index for its newest version


def patrol_camera(strength: float) -> list[Any]:
    """Albumentations transforms; `strength` scales how often each is applied (0: none, not even the stock ones).

    Only transforms of pixels: boxes stay where they are.
    """
    import albumentations as A

    if strength <= 0:
        return [A.NoOp(p=1.0)]

    def often(share: float) -> float:
        return min(share * strength, 1.0)

    return [
        A.OneOf(
            [
                A.MotionBlur(blur_limit=(3, 9), p=1.0),
                A.Defocus(radius=(1, 3), alias_blur=(0.1, 0.3), p=1.0),
                A.Downscale(scale_range=(0.5, 0.9), p=1.0),
            ],
            p=often(0.12),
        ),
        A.OneOf([A.ISONoise(p=1.0), A.GaussNoise(std_range=(0.02, 0.08), p=1.0)], p=often(0.08)),
        A.OneOf(
            [
                A.RandomFog(fog_coef_range=(0.1, 0.4), p=1.0),
                A.RandomRain(blur_value=3, brightness_coefficient=0.85, p=1.0),
                A.RandomSunFlare(flare_roi=(0, 0, 1, 0.4), src_radius=80, p=1.0),
                A.RandomShadow(p=1.0),
            ],
            p=often(0.06),
        ),
        A.PlanckianJitter(p=often(0.1)),
        A.RandomGamma(gamma_limit=(60, 160), p=often(0.1)),
        A.ToGray(p=often(0.01)),
        A.ImageCompression(quality_range=(35, 90), p=often(0.15)),
    ]
