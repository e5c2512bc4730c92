"""A trained network as an ONNX file, compared with the network on real images before it is there.

Shapes: B images, C classes.
"""

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_sweep.errors import KdSweepError
from kd_sweep.export.export_paths import Mark, check_file, write_file
from kd_sweep.export.request import Request, Written

if TYPE_CHECKING:
    from kd_sweep.export.networks.trained_network import Floats, TrainedNetwork

INPUT, OUTPUT = "images", "logits"
_MARK = "kd_sweep"
_EXAMPLES = 2
"""Images of the example: with one alone its number would be taken for a constant."""
_PARTS = 3
"""Into how many batches of different sizes the images are split for the comparison: the batch has to be free."""


def write_onnx(request: Request) -> Written:
    """Write a network for any number of images, of the size that it was trained on.

    The file's metadata say where it comes from, and what makes of an image its input.

    Raises:
        KdSweepError: it cannot be exported, or what was exported gives other logits; nothing is written.
    """
    from kd_sweep.export.networks.trained_network import trained_network

    network = trained_network(request)
    content = _exported(network, request.mark)
    network.check(_logits(content, network), "onnxruntime")
    what = f"{network.name} of trial {network.trial.trial_id}, {len(network.logits_BC)} images give its logits"
    return Written(write_file(request.out, content), what)


def check_onnx(path: Path, mark: Mark) -> None:
    """Raise `StorageError` where ``path`` is not free for the export with this mark."""
    check_file(path, mark, _mark_in)


def _exported(network: "TrainedNetwork", mark: Mark) -> bytes:
    import torch

    batch = torch.export.Dim("batch", min=1)
    example_BDHW = network.images_BDHW[:_EXAMPLES]
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                network.module.eval(),
                (example_BDHW,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise KdSweepError(f"export: torch cannot make ONNX of {network.learner.model} ({reason})") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert program is not None
    model = program.model_proto
    told = {_MARK: mark, "origin": network.origin, "preprocessing": network.preprocessing}
    del model.metadata_props[:]
    for name, value in told.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]  # where in whose source each node was traced
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _logits(content: bytes, network: "TrainedNetwork") -> "Floats":
    """Return what onnxruntime gives for the images, in batches of different sizes."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images = network.images_BDHW.numpy()
    first, rest = images[:1], images[1:]
    parts = [first, *np.array_split(rest, _PARTS - 1)]
    logits: Floats = np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts if len(part)])
    return logits


def _mark_in(path: Path) -> Any:
    """Return the mark in an ONNX file; None where it is none, or none of ours."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
        return next(json.loads(one.value) for one in model.metadata_props if one.key == _MARK)
    except Exception:  # whatever its parser raises of something else
        return None
