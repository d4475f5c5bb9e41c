"""ONNX graphs of encoders, as their users export them."""

import contextlib
import io
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

BERT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class States(torch.nn.Module):  # type: ignore[misc]
    """A model with its inputs in order, which gives token states and, if wanted, their mean."""

    def __init__(self, model: Any, inputs: Sequence[str], pooled: bool) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.pooled = pooled

    def forward(self, *values: Any) -> Any:
        states = self.model(**dict(zip(self.inputs, values, strict=True))).last_hidden_state
        return (states, states.mean(dim=1)) if self.pooled else states


def export(
    source: Path,
    target: Path,
    inputs: Sequence[str] = BERT_INPUTS,
    *,
    pooled: bool = False,
    weights_beside: bool = False,
) -> Path:
    """Write the graph of a folder's model, with the inputs named, beside its configuration."""
    target.mkdir(parents=True, exist_ok=True)
    model = AutoModel.from_pretrained(source).eval()
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    shutil.copy(source / "config.json", target / "config.json")
    ids = torch.tensor([[2, 5, 6, 3]])
    values = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
        "position_ids": torch.arange(ids.shape[1]).unsqueeze(0) + 2,
    }
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            States(model, inputs, pooled).eval(),
            tuple(values[name] for name in inputs),
            target / "model.onnx",
            input_names=list(inputs),
            output_names=["last_hidden_state", *(["sentence_embedding"] if pooled else [])],
            dynamic_shapes=((any_size,) * len(inputs),),
            dynamo=True,
            external_data=weights_beside,
            verbose=False,
        )
    return target
