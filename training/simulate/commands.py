"""`jiejing simulate`: training pictures and patrols with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision.errors import UsageError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Draw streets with known truth: training pictures and patrols."
)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write; what is there already is kept.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed draws the same streets.")]
Size = Annotated[str, typer.Option(help="Width x height in pixels.")]
Samples = Annotated[int, typer.Option(min=1, help="Rays per pixel; the pictures are denoised.")]
RendererPath = Annotated[
    str | None, typer.Option("--renderer", help="A Python that has bpy; default: this one, else $JIEJING_RENDERER.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the renderer.")]


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` as (640, 480); raises UsageError."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UsageError(f"--size {text!r} is not a size", remedy="write it as 640x480") from None
    return width, height


@app.command()
def pictures(
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="How many pictures in all.")] = 330,
    size: Size = "640x480",
    samples: Samples = 16,
    seed: Seed = 1,
    renderer: RendererPath = None,
    threads: Threads = 1,
) -> None:
    """Training pictures with YOLO labels and truth; run again to go on where it stopped."""
    from rich.progress import Progress

    from training.simulate.pictures import PictureJob, make_pictures

    job = PictureJob(count, parse_size(size), samples, seed)
    with Progress() as bar:
        task = bar.add_task("pictures", total=count)
        drawn = make_pictures(
            job, out, renderer=renderer, threads=threads, report=lambda done, _: bar.update(task, completed=done)
        )
    typer.echo(f"{drawn} pictures drawn, {count} in {out}")


@app.command()
def patrol(
    out: Out,
    seed: Seed = 1,
    frames: Annotated[int, typer.Option(min=2, help="Frames in each pass.")] = 32,
    passes: Annotated[
        int, typer.Option(min=1, max=2, help="The second pass comes after half of the things were cleaned away.")
    ] = 2,
    size: Size = "960x720",
    spacing: Annotated[float, typer.Option(help="Metres from frame to frame.")] = 1.8,
    samples: Samples = 16,
    no_render: Annotated[
        bool, typer.Option("--no-render", help="No pictures: detections.csv from the truth, with misses and jitter.")
    ] = False,
    flat: Annotated[bool, typer.Option("--flat", help="Flat painted pictures, without Blender.")] = False,
    renderer: RendererPath = None,
    threads: Threads = 1,
) -> None:
    """A drive through one street: frames, tracks, camera file and the truth; run again to go on where it stopped."""
    from rich.progress import Progress

    from training.simulate.patrol import PatrolJob, make_patrol

    if flat and no_render:
        raise UsageError("--flat and --no-render exclude each other", remedy="give one of them")
    drawn_with = None if no_render else 0 if flat else samples
    job = PatrolJob(seed, frames, passes, parse_size(size), spacing, samples=drawn_with)
    with Progress() as bar:
        task = bar.add_task("frames", total=frames * passes)
        drawn = make_patrol(
            job, out, renderer=renderer, threads=threads, report=lambda done, _: bar.update(task, completed=done)
        )
    typer.echo(f"{drawn} frames drawn, patrol in {out}")
