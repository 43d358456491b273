"""The commands about labelled data: `check`, `import`, `split`, `preview`; `training.commands` adds `gather`.

Heavy imports happen inside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.labels.kinds import Format
from vision.errors import UsageError

if TYPE_CHECKING:
    from training.labels.checks import Report
    from training.labels.importing import Imported
    from training.labels.values import LabelSet

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Check, import, split and preview labelled pictures."
)
# How many faults of one kind are printed; --json prints all.
SHOWN = 20


Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")]
Kind = Annotated[Format | None, typer.Option("--format", help="Format of the labels; told by the files without it.")]
ManifestFile = Annotated[Path | None, typer.Option("--manifest", help="manifest.toml kept elsewhere.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the pictures, when not inside.")]
ClassMapWords = Annotated[
    list[str] | None, typer.Option("--class-map", help="theirs=ours, theirs=ignore, theirs= (drop), or a .toml file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]


def _read(folder: Path, kind: Format | None, manifest: Path | None, images: Path | None) -> LabelSet:
    from training.labels import reading

    parts = reading.read_parts(manifest or folder / "manifest.toml")
    return reading.read_set(
        folder, kind, manifest=parts if isinstance(parts, reading.Manifest) else None, images=images
    )


@app.command()
def check(
    folder: Folder,
    kind: Kind = None,
    manifest: ManifestFile = None,
    splits: Annotated[Path | None, typer.Option(help="CSV with the columns image, split and perhaps group.")] = None,
    images: Images = None,
    class_map: ClassMapWords = None,
    json_: Json = False,
) -> None:
    """Report what is wrong with a data set, fault by fault. Exit code 1 when there are faults, 0 for warnings only."""
    from training.labels.checks import check as check_set
    from training.labels.classes import read_class_map

    report = check_set(
        folder,
        kind,
        manifest=manifest,
        splits=splits,
        images=images,
        class_map=read_class_map(class_map) if class_map else None,
    )
    if json_:
        faults = [fault.record() for fault in report.faults]
        head = {"format": report.format, "pictures": report.pictures, "boxes": report.boxes, "counts": report.counts()}
        typer.echo(json.dumps({**head, "faults": faults}, ensure_ascii=False))
    else:
        _print(report)
    raise typer.Exit(0 if report.clean else 1)


def _print(report: Report) -> None:
    shown: dict[str, int] = {}
    for fault in sorted(report.faults, key=lambda fault: (fault.severity, fault.kind)):
        shown[fault.kind] = shown.get(fault.kind, 0) + 1
        if shown[fault.kind] <= SHOWN:
            typer.echo(str(fault))
        elif shown[fault.kind] == SHOWN + 1:
            typer.echo(f"… and {report.counts()[fault.kind] - SHOWN} more of {fault.kind} (--json lists all)")
    found = ", ".join(f"{kind} {number}" for kind, number in report.counts().items()) or "nothing wrong"
    typer.echo(f"{report.format}: {report.pictures} pictures, {report.boxes} boxes; {found}")


@app.command(name="import")
def import_(
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for the data set.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="[SRC]", help="Folder with the labelled pictures.", show_default=False)
    ] = None,
    kind: Kind = None,
    name: Annotated[str, typer.Option(help="Name of the data set; the folder's without it.")] = "",
    class_map: ClassMapWords = None,
    licence: Annotated[str, typer.Option(help="Licence of the pictures and labels, as stated by their source.")] = "",
    origin: Annotated[str, typer.Option(help="Where they come from.")] = "",
    images: Images = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pictures instead of linking them.")] = False,
    from_server: Annotated[
        str | None, typer.Option(metavar="URL", help="Take the decisions of a server's operators instead.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="With --from-server: decisions from this ISO 8601 moment on.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="JIEJING_API_KEY", help="With --from-server: the server's API key.")
    ] = None,
    json_: Json = False,
) -> None:
    """Turn labelled pictures of others, or operators' decisions, into a data set of ours; faults are reported."""
    if (source is None) == (from_server is None):
        raise UsageError("nothing to import, or two things", remedy="give a folder, or --from-server URL")
    if source is not None:
        done = _import_folder(source, kind, output, name, class_map, licence, origin, images, copy)
    else:
        from tempfile import TemporaryDirectory

        from training.labels.from_server import Server, import_decisions

        with TemporaryDirectory() as downloads:
            done = import_decisions(
                Server(str(from_server), api_key),
                output,
                Path(downloads),
                name=name or output.name,
                licence=licence or "the city's own pictures",
                since=since,
            )
    summary = {
        "folder": str(done.folder),
        "pictures": done.pictures,
        "left_out": done.left_out,
        "boxes": dict(done.boxes),
        "regions": done.regions,
        "unknown": list(done.unknown_groups),
    }
    if json_:
        typer.echo(json.dumps({**summary, "faults": [fault.record() for fault in done.faults]}, ensure_ascii=False))
        return
    for fault in done.faults:
        if fault.severity != "info":
            typer.echo(str(fault), err=True)
    if source is not None and not licence:
        typer.echo("jiejing: no --licence given: state it in the manifest before training on this", err=True)
    counts = ", ".join(f"{name} {number}" for name, number in done.boxes.items()) or "no boxes"
    typer.echo(f"{done.folder}: {done.pictures} pictures, {done.left_out} left out; {counts}")
    if done.unknown_groups:
        typer.echo(f"not labelled there, so unknown and not absent: {', '.join(done.unknown_groups)}")


def _import_folder(
    source: Path,
    kind: Format | None,
    output: Path,
    name: str,
    class_map: list[str] | None,
    licence: str,
    origin: str,
    images: Path | None,
    copy: bool,
) -> Imported:
    from training.labels.classes import read_class_map
    from training.labels.importing import ours, write_dataset

    mapping = read_class_map(class_map or ())
    found = _read(source, kind, None, images)
    pictures, faults = ours(found, mapping)
    return write_dataset(
        pictures,
        output,
        name=name or output.name,
        origin=origin or f"{found.format} labels in {source.name}",
        licence=licence,
        class_map=mapping.given,
        copy=copy,
        faults=faults,
    )


@app.command()
def split(
    folder: Folder,
    kind: Kind = None,
    manifest: ManifestFile = None,
    images: Images = None,
    groups: Annotated[Path | None, typer.Option(help="CSV image,group of groups that are known.")] = None,
    gps_m: Annotated[float, typer.Option(min=0, help="Metres within which pictures are of one place; 0 never.")] = 30.0,
    burst_s: Annotated[float, typer.Option(min=0, help="Seconds within which pictures are one burst; 0 never.")] = 5.0,
    looks: Annotated[bool, typer.Option("--looks/--no-looks", help="Join pictures that look alike.")] = True,
    val: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share wanted in val.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="CSV to write; DIR/split.csv without it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Divide a data set into train and val by place, time and look: whole groups, never single pictures."""
    from training.labels.splits import divide, read_groups, split_csv

    found = _read(folder, kind, manifest, images)
    if not found.pictures:
        raise UsageError(f"{folder}: no picture can be read", remedy="see `jiejing dataset check`")
    given = read_groups(groups) if groups else None
    done = divide(found.pictures, given=given, near_m=gps_m, burst_s=burst_s, by_look=looks, val=val, seed=seed)
    target = output or folder / "split.csv"
    part = target.with_name(target.name + ".part")
    part.write_text(split_csv(found.pictures, done.groups, done.splits), encoding="utf-8")
    part.replace(target)
    if json_:
        inside = sum(one == "val" for one in done.splits)
        record = {"file": str(target), "pictures": len(done.splits), "groups": len(set(done.groups)), "val": inside}
        typer.echo(json.dumps({**record, "notes": list(done.notes)}, ensure_ascii=False))
        return
    for note in done.notes:
        typer.echo(note)
    typer.echo(f'{target}: name it in the manifest, [split] file = "{target.name}", group = "group"')


@app.command()
def preview(
    folder: Folder,
    kind: Kind = None,
    manifest: ManifestFile = None,
    images: Images = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the sheets; runs/preview/NAME without it.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Draw sheets of pictures with their boxes. They show the source's pictures: keep them out of repositories."""
    from training.labels.preview import write_sheets

    found = _read(folder, kind, manifest, images)
    if not found.pictures:
        raise UsageError(f"{folder}: no picture can be read", remedy="see `jiejing dataset check`")
    target = output or Path("runs") / "preview" / folder.resolve().name
    for file in write_sheets(found.pictures, target, count=count, seed=seed):
        typer.echo(str(file))
