"""A run on several GPUs: the same command once per GPU, under torch's own launcher.

The library would start its workers from a pickled trainer, without our arguments and past its own safe loading. A
process that the launcher started is a worker to the library all the same: it joins the others through torch's DDP.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from training.errors import TrainingError
from training.run.config import TrainConfig


def is_worker() -> bool:
    """Whether this process was started by the launcher."""
    return "LOCAL_RANK" in os.environ


def gpus(config: TrainConfig) -> int:
    """How many GPUs the run asks for; 0 on a CPU."""
    return 0 if config.device == "cpu" else len(config.device.split(","))


def command(config: TrainConfig, data: Path, run: Path) -> list[str]:
    """The launcher's command line for this run. Raises TrainingError when a step cannot be divided among the GPUs."""
    count = gpus(config)
    if config.batch % count:
        raise TrainingError(f"batch {config.batch} on {count} GPUs", remedy=f"give a multiple of {count}")
    values = config.model_dump(mode="json", exclude_none=True)
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    return [
        sys.executable,
        *launcher,
        "-m",
        "--",
        "jiejing",
        "train",
        "--data",
        str(data),
        "--run",
        str(run),
        *settings,
    ]


def launch(config: TrainConfig, data: Path, run: Path) -> None:
    """Train on all GPUs and wait. Raises TrainingError when a worker fails; its own words stand above."""
    if subprocess.run(command(config, data, run), check=False).returncode:
        raise TrainingError(
            "the run on several GPUs ended early", remedy="see above; the same command goes on from there"
        )
