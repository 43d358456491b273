"""How the console names and colours things, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping

CLASS_NAMES: Mapping[str, tuple[str, str]] = {
    "garbage": ("垃圾", "Garbage"),
    "overflow": ("满溢", "Overflow"),
    "stall": ("摊位", "Stall"),
    "shed": ("棚屋", "Shed"),
    "hoarding": ("围挡", "Hoarding"),
    "material_pile": ("堆料", "Material pile"),
    "awning": ("雨棚", "Awning"),
    "bin": ("垃圾桶", "Bin"),
    "projecting_sign": ("侧招", "Projecting sign"),
    "signboard": ("招牌", "Signboard"),
    "window_advert": ("橱窗广告", "Window advert"),
}
# Told apart by hue and by lightness, on light and on dark ground.
CLASS_COLOURS: Mapping[str, str] = {
    "garbage": "#e08a00",
    "overflow": "#d6314a",
    "stall": "#8b5cf6",
    "shed": "#2f7de1",
    "hoarding": "#0e9aa7",
    "material_pile": "#9a6b3f",
}
OTHER_COLOUR = "#7b8794"
STAGES_EN: Mapping[str, str] = {
    "collected": "Collected",
    "filed": "Filed",
    "dispatched": "Dispatched",
    "in_handling": "In handling",
    "reported_done": "Reported done",
    "closed": "Verified and closed",
    "evaluated": "Evaluated",
    "rejected": "Rejected",
    "void": "Void",
}
STATES: Mapping[str, tuple[str, str]] = {
    "receiving": ("接收中", "Receiving"),
    "queued": ("排队", "Queued"),
    "processing": ("处理中", "Processing"),
    "done": ("完成", "Done"),
    "failed": ("失败", "Failed"),
}
EVENTS: Mapping[str, tuple[str, str]] = {
    "opened": ("立案", "Opened"),
    "seen_again": ("再次发现", "Seen again"),
    "recurred": ("反复", "Recurred"),
    "withdrawn": ("撤回", "Withdrawn"),
    "not_seen": ("未见", "Not seen"),
    "look_withdrawn": ("撤回查看", "Look withdrawn"),
    "voided": ("作废", "Voided"),
}
VERDICTS: Mapping[str, tuple[str, str]] = {
    "confirm": ("属实", "Confirmed"),
    "reject": ("误报", "False alarm"),
    "reclass": ("改为", "Is rather"),
    "move": ("移框", "Box moved"),
}


def class_name(name: str) -> tuple[str, str]:
    """A class in Chinese and English; one we have no words for stands for itself."""
    return CLASS_NAMES.get(name, (name, name.replace("_", " ").capitalize()))


def colour(name: str) -> str:
    """The colour of a class on map, list and pictures."""
    return CLASS_COLOURS.get(name, OTHER_COLOUR)
