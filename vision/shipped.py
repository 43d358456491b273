"""Where the things that ship with Jiejing lie: the default model and the sample patrol.

`models/` and `datasets/` are folders of data, never packages (an importable `datasets` would hide another library's).
A wheel carries them inside `vision/shipped_data/`; a checkout has them at its top.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vision.errors import ModelError

DEFAULT_MODEL = "street-n"


def _find(kind: str, name: str) -> Path | None:
    shipped = Path(str(resources.files("vision"))) / "shipped_data" / kind / name
    checkout = Path(__file__).resolve().parents[1] / kind / name
    return next((path for path in (shipped, checkout) if path.is_dir()), None)


def model_folder(name_or_path: str | Path | None = None) -> Path:
    """The folder of a model, given as a path or as the name of a shipped one; the default model without a name.

    Raises ModelError when there is no such folder.
    """
    wanted = str(name_or_path or DEFAULT_MODEL)
    if Path(wanted).is_dir():
        return Path(wanted)
    found = _find("models", wanted) if Path(wanted).name == wanted else None
    if found is None:
        raise ModelError(
            f"no model folder {wanted!r}",
            remedy=f"give the path of a folder that holds model.toml, or leave --model away for {DEFAULT_MODEL!r}",
        )
    return found


def dataset_folder(name: str) -> Path:
    """The folder of a shipped data set, such as `sample-patrol`. Raises ModelError when it is not installed."""
    found = _find("datasets", name)
    if found is None:
        raise ModelError(f"the data set {name!r} is not part of this installation", remedy="install the wheel or clone")
    return found
