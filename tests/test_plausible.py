"""Litter on a vehicle is no litter on the street."""

from __future__ import annotations

from vision.detecting.plausible import on_the_ground
from vision.detections import Detections

CAR = ("vehicle", 0.8, (100.0, 100.0, 300.0, 200.0))


def stays(*rows: tuple[str, float, tuple[float, float, float, float]]) -> list[bool]:
    names = ("garbage", "bin", "overflow", "person", "vehicle")
    return on_the_ground(Detections.of(list(rows), (640, 480), class_names=names)).tolist()


def test_a_tail_light_is_no_litter_and_the_car_stays() -> None:
    assert stays(CAR, ("garbage", 0.6, (110, 130, 125, 145))) == [True, False]


def test_a_bag_at_the_wheel_in_front_of_the_car_stays() -> None:
    assert stays(CAR, ("garbage", 0.6, (110, 175, 140, 205))) == [True, True]
    assert stays(CAR, ("garbage", 0.6, (110, 180, 140, 195))) == [True, True]


def test_a_bag_beside_the_car_or_half_before_it_stays() -> None:
    assert stays(CAR, ("garbage", 0.6, (310, 130, 325, 145))) == [True, True]
    assert stays(CAR, ("garbage", 0.6, (290, 130, 320, 145))) == [True, True]


def test_only_litter_and_only_by_a_sure_vehicle() -> None:
    assert stays(CAR, ("overflow", 0.6, (110, 130, 125, 145))) == [True, True]
    assert stays(("vehicle", 0.2, CAR[2]), ("garbage", 0.6, (110, 130, 125, 145))) == [True, True]
    assert stays(("person", 0.9, CAR[2]), ("garbage", 0.6, (110, 130, 125, 145))) == [True, True]
    assert stays() == []
