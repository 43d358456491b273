"""Commands of the training side: data sets in, a model folder out."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from training.dataset_commands import app as dataset_app
from training.errors import DatasetError, TrainingError
from training.sources import Label, Picture, Source, load, read_manifest, write_run_set
from vision.errors import UsageError

if TYPE_CHECKING:
    from training.evaluation.compare import Difference
    from training.evaluation.evaluate import Looks

MANIFESTS = Path(__file__).resolve().parents[1] / "datasets"
MODELS = MANIFESTS.parent / "models"

Sources = Annotated[
    list[str], typer.Option("--source", help="NAME=FOLDER: a manifest of datasets/ and where its pictures lie.")
]
CITY = "With --cases"
Manifests = Annotated[Path, typer.Option(help="Folder with one manifest.toml per source.")]

dataset = dataset_app


def named_sources(sources: list[str], manifests: Path) -> list[tuple[Source, Path]]:
    """The manifests and folders that `NAME=FOLDER` options name; a folder's own manifest.toml where none is kept under
    that name. Raises DatasetError on a wrong one."""
    found = []
    for option in sources:
        name, equals, folder = option.partition("=")
        if not equals or not Path(folder).is_dir():
            raise DatasetError(f"--source {option}: no such folder", remedy="write NAME=FOLDER")
        kept = manifests / name / "manifest.toml"
        own = Path(folder) / "manifest.toml"
        found.append((read_manifest(kept if kept.is_file() or not own.is_file() else own), Path(folder)))
    return found


@dataset.command()
def gather(
    source: Sources,
    out: Annotated[Path, typer.Option(help="The run's data folder: links and labels are written there.")],
    manifests: Manifests = MANIFESTS,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder that labels what a source does not; of several the first to know a group does."
        ),
    ] = None,
    windows: Annotated[
        list[str] | None, typer.Option(help="NAME=TIMES: add so many square windows of a source's training pictures.")
    ] = None,
    composites: Annotated[Path | None, typer.Option(help="Folder made by `dataset compose`.")] = None,
    repeat: Annotated[
        list[str] | None, typer.Option(help="NAME=TIMES: show pictures of a source or a class so often.")
    ] = None,
) -> None:
    """Gather the pictures of several sources into one training set; what a source does not label stays unknown."""
    repeats, cuts = _times("--repeat", repeat), _times("--windows", windows)
    pictures: list[Picture] = []
    named = named_sources(source, manifests)
    for described, folder in named:
        pictures += _taught(described, folder, teacher or [], out)
    if cuts:
        from training.composites.windows import cut_windows

        pictures += cut_windows(pictures, out / "windows", cuts)
    if composites is not None:
        from training.composites.composite import read

        pictures += read(composites)
    summary = write_run_set(pictures, out, repeats, [described for described, _ in named])
    typer.echo(summary.read_text(encoding="utf-8"))


def _times(option: str, values: list[str] | None) -> dict[str, int]:
    found = {}
    for value in values or []:
        name, _, times = value.partition("=")
        if not times.isdigit():
            raise DatasetError(f"{option} {value}: not a number", remedy="write NAME=TIMES")
        found[name] = int(times)
    return found


def _taught(described: Source, folder: Path, teachers: list[Path], out: Path) -> list[Picture]:
    """The pictures of a source, with what the teachers say of the groups that the manifest lets be taught."""
    from training.teacher import groups_of, teach
    from vision.detecting.detector import Detector

    taught: dict[str, tuple[Label, ...]] = {}
    known: frozenset[str] = frozenset()
    for teacher in teachers if described.taught else []:
        detector = Detector.load(teacher)
        groups = (groups_of(detector.model.classes) & described.taught) - known
        if groups:
            cache = out / "taught" / f"{described.name}-{detector.model.id}.json"
            paths = [picture.path for picture in load(described, folder)]
            look = partial(detector.detect_file, min_score=0.05)
            for name, labels in teach(paths, look, cache, groups).items():
                taught[name] = taught.get(name, ()) + labels
            known |= groups
    return list(load(described, folder, taught or None, teaches=known))


@dataset.command()
def compose(
    pieces: Annotated[Path, typer.Option(help="Pictures of single pieces on a white board, a folder per material.")],
    source: Sources,
    out: Annotated[Path, typer.Option(help="Where the pictures and composites.json go.")],
    drawn: Annotated[int, typer.Option(help="How many drawn streets.")] = 300,
    pasted: Annotated[int, typer.Option(help="How many real pictures with laid pieces.")] = 600,
    before_facades: Annotated[int, typer.Option(help="How many facades with pieces on the ground before them.")] = 0,
    side: Annotated[int, typer.Option(help="Side of a composite in pixels.")] = 480,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    manifests: Manifests = MANIFESTS,
) -> None:
    """Lay real pieces of litter at their true size on drawn streets and on the training pictures of the sources.

    Facades (sources that label adverts) serve as backdrops of drawn streets, those that label waste are laid upon.
    """
    from training.composites.composite import make_all, write
    from training.composites.pieces import read_pieces, write_pieces

    cutouts = out / "pieces"
    if not cutouts.is_dir():
        write_pieces(pieces, cutouts)
    pictures = [
        picture
        for described, folder in named_sources(source, manifests)
        for picture in load(described, folder)
        if picture.split == "train"
    ]
    made = make_all(
        read_pieces(cutouts),
        pictures,
        drawn=drawn,
        pasted=pasted,
        side=side,
        seed=seed,
        before_facades=before_facades,
    )
    write(made, out)
    typer.echo(f"{len(made)} pictures in {out}")


def train(
    data: Annotated[Path, typer.Option(help="Folder made by `dataset gather`.")],
    run: Annotated[Path, typer.Option(help="The run's folder; training goes on where a run in it stopped.")],
    config: Annotated[Path | None, typer.Option(help="TOML file with the fields of training.run.config.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="name=value: changes one field.")] = None,
) -> None:
    """Train the detector; a run that was killed resumes from its last epoch."""
    from training.run.config import read_config
    from training.run.record import write_record
    from training.run.several import is_worker

    wanted = read_config(config, setting or [])
    trainer = _trainer()
    # Absolute: the library would look for relative paths in a folder of its own settings.
    data, run = data.resolve(), run.resolve()
    if not is_worker():
        write_record(run, wanted, data)
    typer.echo(str(trainer.train(wanted, data, trainer.RunFolder(run))))


def average(
    part: Annotated[list[str], typer.Argument(help="CHECKPOINT=SHARE, at least two; the first gives the activation.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The checkpoint to write, for `export` or a further run.")],
) -> None:
    """Average checkpoints of one network: sounder on pictures unlike those trained on, at no cost when serving."""
    _trainer()
    from training.run.averaging import average as mean_of
    from training.run.averaging import read_part

    typer.echo(json.dumps({"checkpoint": str(out), "shares": mean_of([read_part(word) for word in part], out)}))


def _trainer() -> ModuleType:
    try:
        import training.run.trainer
    except ImportError as error:
        raise TrainingError(f"{error}", remedy="install the training extra: pip install 'jiejing[train]'") from None
    return training.run.trainer


def _input_wh(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise TrainingError(f"--input {size}", remedy="write WIDTHxHEIGHT, such as 640x640")
    return int(width), int(height)


def _validation(sources: list[str], manifests: Path) -> list[Picture]:
    found = [
        picture
        for described, folder in named_sources(sources, manifests)
        for picture in load(described, folder)
        if picture.split != "train"
    ]
    if not found:
        raise DatasetError("no validation pictures", remedy="name sources whose split file has some")
    return found


def evaluate(
    source: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER: a manifest of datasets/ and where its pictures lie.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model folder or shipped name.")] = None,
    manifests: Manifests = MANIFESTS,
    size: Annotated[str | None, typer.Option("--input", help="WIDTHxHEIGHT instead of the model's own sizes.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the figures as JSON.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write a page with all figures and the worst mistakes; not into a repository.")
    ] = None,
    store: Annotated[
        bool,
        typer.Option(help="Choose the thresholds here; store them, the figures and the card's table in the model."),
    ] = False,
    cases: Annotated[bool, typer.Option("--cases", help="Score cases against simulated cities instead.")] = False,
    seed: Annotated[
        list[int] | None, typer.Option(help="Which city; repeat for several.", rich_help_panel=CITY)
    ] = None,
    passes: Annotated[int, typer.Option(min=2, max=200, help="Patrols, one a day.", rich_help_panel=CITY)] = 10,
    km: Annotated[float, typer.Option(min=0.3, max=100, help="Kilometres of street.", rich_help_panel=CITY)] = 5.0,
    things: Annotated[int, typer.Option(min=1, help="Things that come and go.", rich_help_panel=CITY)] = 200,
    rates: Annotated[Path | None, typer.Option(help="As training/city/rates.toml.", rich_help_panel=CITY)] = None,
    matters: Annotated[Path | None, typer.Option(help="The city's own matters.", rich_help_panel=CITY)] = None,
    known_places: Annotated[
        bool, typer.Option("--known-places", help="True places with honest errors, no `locate`.", rich_help_panel=CITY)
    ] = False,
) -> None:
    """Measure a model through the server's runtime on the validation pictures of the sources.

    With --cases: drive through simulated cities of known truth and score the cases that come of it.
    """
    if cases:
        from training.city.commands import report_cases

        report_cases(
            seed or [1],
            passes=passes,
            km=km,
            things=things,
            rates=rates,
            matters=matters,
            known_places=known_places,
            out=out,
        )
        return
    if not source:
        raise UsageError("evaluate", remedy="give --source NAME=FOLDER, or --cases")
    from training.evaluation.measuring import measured, stored, write_mistakes
    from training.evaluation.page import check_place
    from training.release.export import write_json
    from vision.detecting.detector import Detector

    if page is not None:
        check_place(page)
    detector = Detector.load(model, input_wh=_input_wh(size))
    found = measured(detector, _validation(source, manifests), size, choose=store)
    if out is not None:
        write_json(out, found.report)
    if store:
        stored(detector.model.folder, found)
    if page is not None:
        write_mistakes(page, found)
    for name, entry in found.report["classes"].items():
        if entry["boxes"]:
            figures = f"mAP50 {entry['mAP50']:.3f} {entry['mAP50_interval']}  mAP50-95 {entry['mAP50-95']:.3f}"
            typer.echo(f"{name:16s} {entry['boxes']:5d} boxes  {figures}")
    typer.echo(json.dumps(found.report["means"]))


def _differences(
    a: str | Path, b: str | Path, pictures: list[Picture], looks_b: Looks | None = None
) -> list[Difference]:
    """B minus A on these pictures; `looks_b` when B has looked at them already."""
    from training.evaluation.compare import compare as compare_looks
    from training.evaluation.evaluate import look
    from vision.detecting.detector import Detector

    detectors = [Detector.load(folder) for folder in (a, b)]
    looks = [look(detectors[0], pictures), looks_b if looks_b is not None else look(detectors[1], pictures)]
    shown = [dict(zip(d.model.classes, d.model.thresholds, strict=True)) for d in detectors]
    return compare_looks(looks[0], looks[1], shown[0], shown[1])


def compare(
    a: Annotated[str, typer.Argument(help="Model folder or shipped name.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="NAME=FOLDER: a manifest of datasets/ and where its pictures lie."),
    ] = None,
    manifests: Manifests = MANIFESTS,
    patrol: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a patrol of known truth (`jiejing simulate patrol`): the cases are compared."),
    ] = None,
    decided: Annotated[
        Path | None, typer.Option(help="Decisions of operators (`dataset import --from-server`): agreement with them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Hold two models against each other on the same pictures or patrols: B minus A, and if it is more than luck."""
    from training.evaluation.decided import agreements, decided_difference, read_decisions
    from vision.detecting.detector import Detector

    if not (source or patrol or decided):
        raise UsageError(
            "nothing to compare on", remedy="give --source NAME=FOLDER, --patrol FOLDER or --decided FOLDER"
        )
    found = _differences(a, b, _validation(source, manifests)) if source else []
    if patrol:
        found += _case_differences(a, b, patrol)
    if decided is not None:
        decisions = read_decisions(decided)
        agreed = [agreements(Detector.load(model), decided, decisions) for model in (a, b)]
        found.append(decided_difference(decisions, agreed[0], agreed[1]))
    for one in found:
        if as_json:
            typer.echo(json.dumps(asdict(one)))
            continue
        sure = "" if one.low <= 0 <= one.high else "  *"
        change = f"{one.a:.3f} -> {one.b:.3f}  {one.b - one.a:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        unit = "things" if one.class_name == "cases" else "boxes"
        typer.echo(f"{one.class_name:16s} {one.figure:9s} {one.boxes:5d} {unit:6s} {change}{sure}")


def _case_differences(a: str, b: str, patrols: list[Path]) -> list[Difference]:
    """B minus A in the cases that these patrols come to."""
    from serve.cases.matters import read_matters
    from training.evaluation.case_compare import cases_of, compare_cases, places_of, read_street

    matters = read_matters()
    streets = [read_street(folder, matters) for folder in patrols]
    return compare_cases(
        [places_of(street, [cases_of(model, street, matters) for model in (a, b)], matters) for street in streets]
    )


def publish(
    candidate: Annotated[Path, typer.Argument(help="A model folder with a CARD.md.")],
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="NAME=FOLDER: validation pictures to measure it and the published one on."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name in the registry.")] = "street-n",
    registry: Annotated[Path, typer.Option(help="Folder of published models.")] = MODELS,
    manifests: Manifests = MANIFESTS,
) -> None:
    """Put a model in the place of the published one, unless it lacks a card or finds clearly less.

    A model without figures of its own is measured first, as `jiejing evaluate --store` does.
    """
    from training.evaluation.measuring import measured, stored
    from training.release.publish import judge, measured_model
    from training.release.publish import publish as publish_model
    from vision.detecting.detector import Detector
    from vision.detecting.model import load_model

    before = registry / name
    looks = None
    is_measured = measured_model(candidate) == load_model(candidate).id
    if (before.is_dir() or not is_measured) and not source:
        reason = f"{name} is published already" if before.is_dir() else f"{candidate} was never measured"
        raise TrainingError(reason, remedy="give --source NAME=FOLDER: validation pictures to measure on")
    pictures = _validation(source, manifests) if source else []
    if not is_measured:
        found = measured(Detector.load(candidate), pictures, choose=True)
        stored(candidate, found)
        looks = found.looks
    differences = _differences(before, candidate, pictures, looks) if before.is_dir() else []
    for one in differences:
        if one.figure == "recall":
            change = f"{one.a:.3f} -> {one.b:.3f} [{one.low:+.3f}, {one.high:+.3f}]"
            typer.echo(f"recall {one.class_name:16s} {one.boxes:5d} boxes  {change}")
    verdict = judge(candidate, differences)
    for warning in verdict.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(str(publish_model(candidate, registry, name, verdict)))


def rollback(
    name: Annotated[str, typer.Argument(help="Name in the registry.")] = "street-n",
    registry: Annotated[Path, typer.Option(help="Folder of published models.")] = MODELS,
) -> None:
    """Bring back the model that was published before."""
    from training.release.publish import rollback as roll_back

    typer.echo(str(roll_back(registry, name)))


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint (last.pt) of `jiejing train`.")],
    data: Annotated[Path, typer.Option(help="The run's data folder: pictures to calibrate and to check on.")],
    folder: Annotated[Path, typer.Option(help="The model folder to write.")],
    name: Annotated[str, typer.Option(help="First part of the model's id.")] = "street-n",
    int8: Annotated[
        bool, typer.Option(help="Add INT8, calibrated on training pictures and judged on validation ones.")
    ] = False,
    size: Annotated[list[str] | None, typer.Option("--input", help="WIDTHxHEIGHT that the runtime may choose.")] = None,
) -> None:
    """Turn a checkpoint into a model folder (OpenVINO and ONNX), each checked against the trainer's own output."""
    _trainer()
    from training.release.export import ExportSpec
    from training.release.export import export as export_model
    from training.release.quantise import labelled_pictures

    sizes = tuple((int(w), int(h)) for w, _, h in (option.partition("x") for option in size or ["640x640", "960x736"]))
    lists = {kind: (data / f"{kind}.txt").read_text(encoding="utf-8").split("\n")[:-1] for kind in ("train", "val")}
    calibration = [Path(path) for path in sorted(set(lists["train"]))][:: max(1, len(set(lists["train"])) // 150)]
    checked = [Path(path) for path in lists["val"]][:: max(1, len(lists["val"]) // 24)]
    spec = ExportSpec(name=name, sizes=sizes, int8=int8)
    found = export_model(checkpoint, folder, spec, calibration, checked, labelled_pictures(data) if int8 else ())
    if not (folder / "CARD.md").is_file():
        from training.release.card import draft

        card = draft(name, data, checkpoint.parents[2] / "config.json")
        (folder / "CARD.md").write_text(card, encoding="utf-8")
    typer.echo(json.dumps(found))
