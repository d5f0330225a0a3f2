"""A trained model as one file that runs without kfr: ONNX, or torch.export.

It takes uint8 RGB images `[N, 3, size, size]`, any N, normalises them itself, and
returns logits `[N, C]` and embeddings `[N, D]`. Its metadata say what the numbers mean.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import kfr
from kfr.data.batches import normalized
from kfr.data.images import read_square
from kfr.data.shapes_drawing import draw
from kfr.errors import NumericalError
from kfr.extras import package
from kfr.files import write_whole
from kfr.recognition import Recognizer

NOTES = "kfr"  # where the metadata lie in an ONNX file; `kfr.json` in the other
TOLERANCE = 1e-3
_MOST = 2048  # classes whose distances are written; there are as many as pairs

Outputs = tuple[Tensor, Tensor]  # logits [N, C], embedding [N, D]
Runner = Callable[[Tensor], Sequence[Tensor]]


class Deployed(nn.Module):
    """A recognizer's model with its preprocessing in front."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.model = recognizer.model
        self.normalization = recognizer.normalization

    def forward(self, images: Tensor) -> Outputs:
        """Return logits and embeddings of uint8 images `[N, 3, size, size]`."""
        output = self.model(normalized(images, self.normalization, channels_last=False))
        return output.logits, output.embedding


def metadata(recognizer: Recognizer) -> dict[str, Any]:
    """Return what goes along as JSON.

    `distances` `[C, C]` are left out, null, where there are more than 2048 classes.
    """
    knowledge = recognizer.knowledge
    classes = np.arange(len(knowledge.labels))
    few = len(classes) <= _MOST
    return {
        "labels": knowledge.labels,
        "nodes": knowledge.nodes,
        "distances": knowledge.distances.between(classes, classes).tolist()
        if few
        else None,
        "mean": recognizer.normalization.mean,
        "std": recognizer.normalization.std,
        "size": recognizer.size,
        "margin": recognizer.margin,
        "knowledge": knowledge.fingerprint,
        "kfr": kfr.__version__,
    }


def export_onnx(
    recognizer: Recognizer, path: Path, images: Sequence[Path] = ()
) -> float:
    """Write an ONNX file and return the largest difference seen when it is run.

    Raises:
        MissingError: the extra `onnx` is not installed.
        NumericalError: onnxruntime says something else; nothing is written.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        package(name, "onnx")
    program = torch.onnx.export(
        _exported(recognizer),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["logits", "embedding"],
    )
    proto = cast("torch.onnx.ONNXProgram", program).model_proto
    note = proto.metadata_props.add()
    note.key, note.value = NOTES, json.dumps(metadata(recognizer))
    data = proto.SerializeToString()
    session = package("onnxruntime", "onnx").InferenceSession(
        data, providers=["CPUExecutionProvider"]
    )

    def run(batch: Tensor) -> list[Tensor]:
        answers = session.run(["logits", "embedding"], {"images": batch.numpy()})
        return [torch.from_numpy(answer) for answer in answers]

    return _checked(recognizer, run, images, path, data)


def export_torch(
    recognizer: Recognizer, path: Path, images: Sequence[Path] = ()
) -> float:
    """Write a file for `torch.export.load`; return the largest difference seen.

    Raises:
        NumericalError: the file says something else; nothing is written.
    """
    buffer = io.BytesIO()
    notes: Mapping[str, Any] = {f"{NOTES}.json": json.dumps(metadata(recognizer))}
    torch.export.save(_exported(recognizer), buffer, extra_files=dict(notes))
    data = buffer.getvalue()
    run = torch.export.load(io.BytesIO(data)).module()
    return _checked(recognizer, run, images, path, data)


def _exported(recognizer: Recognizer) -> torch.export.ExportedProgram:
    """Trace the model; where its lines of code lie on this machine is left out."""
    size = recognizer.size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("batch")}}
    model = Deployed(recognizer).cpu().eval()
    program = torch.export.export(model, (example,), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


@torch.inference_mode()
def _checked(
    recognizer: Recognizer, run: Runner, images: Sequence[Path], path: Path, data: bytes
) -> float:
    """Compare on every batch, then write the bytes that were compared."""
    model = Deployed(recognizer).eval()
    worst = 0.0
    for batch in _batches(recognizer, images):
        for ours, theirs in zip(model(batch), run(batch), strict=True):
            worst = max(worst, float((ours - theirs).abs().nan_to_num(torch.inf).max()))
    if worst > TOLERANCE:
        raise NumericalError(
            f"the exported model differs from its run by {worst:.2g}, more than "
            f"{TOLERANCE:g}; {path} is not written"
        )
    write_whole(path, data)
    return worst


def _batches(recognizer: Recognizer, images: Sequence[Path]) -> list[Tensor]:
    """Return noise, drawn shapes and the images given, in batches of several sizes."""
    size, chance = recognizer.size, torch.Generator().manual_seed(0)
    shape = (5, 3, size, size)
    noise = torch.randint(256, shape, generator=chance, dtype=torch.uint8)
    drawn = torch.from_numpy(draw(16, seed=0, size=size).images).permute(0, 3, 1, 2)
    own = [read_square(p, size, recognizer.margin)[None] for p in images]
    return [noise, noise[:1], drawn.contiguous(), *own]
