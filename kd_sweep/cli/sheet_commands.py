"""Commands that draw: figures of a study, its report, sheets of attention and of augmentations."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kd_sweep.cli.arguments import ImageFile, NumImages, Overrides, ResultsRoot, Spec, check_image_file
from kd_sweep.cli.completion import nothing, study_names, trial_ids
from kd_sweep.cli.remote_commands import attention_there
from kd_sweep.cli.screen import print_message, print_output
from kd_sweep.cli.server_option import server
from kd_sweep.errors import UserError
from kd_sweep.waiting import doing

_IMAGES = 8
"""On a sheet of attention, where nobody says how many or which."""
_NumShown = Annotated[
    int | None, typer.Option(min=1, max=64, help="Number of validation images, from every class in turn. Default: 8.")
]
_MapKind = Annotated[
    str | None, typer.Option("--map", metavar="KIND", help="grad_cam, cam or a plug-in's. Default: the study's.")
]
SheetDpi = Annotated[
    int,
    typer.Option("--dpi", min=50, max=1200, help="Dots per inch of images in PDF and SVG."),
]


def plot(
    root: ResultsRoot,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.", autocompletion=study_names)],
    figures: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIGURE", help="Names of docs/figures.md. Default: all.", autocompletion=nothing),
    ] = None,
    *,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="The folder for figures and their CSV.", autocompletion=nothing)
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="FORMAT", help="pdf, svg or png; repeatable. Default: pdf and png."),
    ] = None,
    size: Annotated[str, typer.Option(help="one-column (85 mm) or two-columns (174 mm).")] = "one-column",
    metric: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Of figures that show one. Default: val_accuracy.")
    ] = None,
    dpi: Annotated[int, typer.Option(help="Dots per inch of PNG.")] = 300,
    style: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A style file of matplotlib's, over the own style.")
    ] = None,
) -> None:
    """Draw a study's figures for paper. Beside each lie its rows as CSV and its caption."""
    with doing("drawing figures"):
        from kd_sweep.figures.plots.drawn_figures import FigureOptions
        from kd_sweep.figures.plots.saved_figures import save_figures
        from kd_sweep.tables.reader import Results, open_results

        options = FigureOptions(metric, tuple(formats or ("pdf", "png")), size, dpi, style)
        results = open_results(root)
        saved = save_figures(Results(results.select(study)[study]), figures or (), out, options)
    for location in saved.files:
        print_output(location)
    for reason in saved.missing:
        print_message(f"not drawn: {reason}")


def report(
    root: ResultsRoot,
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY", help="Names of studies; several stand side by side.", autocompletion=study_names
        ),
    ],
    *,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The file to write.", autocompletion=nothing)],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="html, md, latex or pdf. Default: by the file's ending, else html."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say whether the file is stale, with exit code 1 if so.")
    ] = False,
    galleries: Annotated[
        bool, typer.Option("--galleries", help="With attention and augmentations, drawn from networks and images.")
    ] = False,
) -> None:
    """Write the report of studies, one file that needs no network. The same tables give the same bytes."""
    with doing("checking the report" if check else "writing the report"):
        from kd_sweep.figures.report.report_file import stale_because, write_report
        from kd_sweep.tables.reader import Results, open_results

        opened = open_results(root)
        results = [Results(opened.select(study)[study]) for study in studies]
        reason = stale_because(results, out) if check else None
        if not check:
            write_report(results, out, format, galleries=galleries)
    if reason is not None:
        print_message(reason)
        raise typer.Exit(1)
    print_message(f"{out} is up to date" if check else f"wrote {out}")


def attention(
    root: ResultsRoot,
    trials: Annotated[
        list[str],
        typer.Argument(
            metavar="TRIAL",
            help="Ids of trials or beginnings of them, such as one a strength.",
            autocompletion=trial_ids,
        ),
    ],
    out: ImageFile,
    images: _NumShown = None,
    indices: Annotated[
        list[int] | None, typer.Option("--image", help="Index of a validation image, from 0. Repeatable.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The student after its best epoch, not its newest.")] = False,
    map_kind: _MapKind = None,
    dpi: SheetDpi = 300,
) -> None:
    """Draw the attention of teachers and student. It lies over validation images, with the IoU of regions."""
    if images is not None and indices:
        raise UserError("--images: is a number of images, and --image says which; leave one of them out")
    epoch: Literal["last", "best"] = "best" if best else "last"
    if (service := server()) is not None:
        attention_there(service, root, trials, out, images or _IMAGES, epoch)
        return
    with doing("reading the tables"):
        from kd_sweep.tables.reader import open_results
        from kd_sweep.tables.trial_lookup import find_trials

        check_image_file(out)
        stored = find_trials(open_results(root), trials)
    with doing("drawing attention maps"):
        from kd_sweep.figures.attention_sheet import write_attention
        from kd_sweep.trained.trial_attention import trial_attention

        shown = indices or images or _IMAGES
        found = [trial_attention(trial, shown, epoch=epoch, map_kind=map_kind) for trial in stored]
        write_attention(found, out, dpi)
    print_message(f"wrote {out}")


def augmentations(
    spec: Spec,
    out: ImageFile,
    images: NumImages = 8,
    overrides: Overrides = None,
    dpi: SheetDpi = 300,
) -> None:
    """Draw images at each augmentation strength of a study. Trains nothing."""
    with doing("drawing augmented images"):
        from kd_sweep.study.file.load import load_spec

        check_image_file(out)
        study = load_spec(spec, overrides or ())
        from kd_sweep.figures.augmentation_sheet import write_augmentations

        write_augmentations(study, images, out, dpi)
    print_message(f"wrote {out}")
