"""A BERT encoder: its weights, and the ONNX graph that computes with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from modelcache.errors import ConfigError

Floats = NDArray[np.float32]

OPSET = 18
# The oldest file format that has what is used here.
IR_VERSION = 9
MICROSOFT = "com.microsoft"
# 7 bits: two products of an unsigned and a signed byte are added in 16 bits on processors without VNNI, and
# do not overflow with these. So the sums are the same integers on every processor.
LARGEST = 63


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x · weightᵀ + bias; the weight is (outputs, inputs)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation over the last dimension."""

    scale: Floats
    shift: Floats


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and feed-forward, each followed by a norm of its sum with what went in."""

    queries_keys_values: Linear
    attended: Linear
    attention_norm: Norm
    widened: Linear
    narrowed: Linear
    norm: Norm


@dataclass(frozen=True, slots=True)
class Encoder:
    """All that is behind the sum of a token's word, position and type vectors."""

    first_norm: Norm
    layers: Sequence[Layer]
    heads: int
    epsilon: float


def graph(
    encoder: Encoder,
    source: str,
    target: str,
    smoothing: Mapping[str, Floats] | None = None,
    shown: Sequence[str] = (),
) -> bytes:
    """Return the graph that maps ``source`` (1, tokens, hidden) to the mean ``target`` (1, hidden).

    With ``smoothing`` its matrix products are in 8 bits: the inputs with one scale a call, the weights with
    one an output. By it each input of a matrix is divided, and the weights multiplied, before they are
    rounded (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438): some dimensions of BERT are a hundred times
    as large as the others, which would be rounded to nothing under their scale. ``shown`` are further
    outputs, by the names of ``matrix_inputs``.
    """
    made = _Graph(smoothing, encoder.epsilon)
    state = made.encode(source, encoder)
    made.node("ReduceMean", [state, made.integers("axes", [1])], [target], keepdims=0)
    hidden = len(encoder.first_norm.scale)
    return made.serialised({source: [1, "tokens", hidden]}, {target: [1, hidden]}, shown)


def pair_graph(
    encoder: Encoder,
    head: Linear,
    source: str,
    averaging: str,
    target: str,
    smoothing: Mapping[str, Floats] | None = None,
    shown: Sequence[str] = (),
) -> bytes:
    """Return the graph that maps a pair's ``source`` (1, tokens, hidden) to the logit ``target`` (1, 1).

    ``averaging`` (1, 2, tokens) are the weights by which the two questions' states are averaged. The head
    is given both means, their absolute difference and their product.
    """
    made = _Graph(smoothing, encoder.epsilon)
    state = made.encode(source, encoder)
    made.node("MatMul", [averaging, state], ["means"])
    made.node("Split", ["means", made.integers("one each", [1, 1])], ["one", "other"], axis=1)
    made.node("Sub", ["one", "other"], ["signed"])
    made.node("Abs", ["signed"], ["difference"])
    made.node("Mul", ["one", "other"], ["product"])
    made.node("Concat", ["one", "other", "difference", "product"], ["seen"], axis=2)
    made.node("MatMul", ["seen", made.constant("head", head.weight.T)], ["weighed"])
    made.node("Add", ["weighed", made.constant("base", head.bias)], [target])
    hidden = len(encoder.first_norm.scale)
    return made.serialised(
        {source: [1, "tokens", hidden], averaging: [1, 2, "tokens"]}, {target: [1, 1, 1]}, shown
    )


def matrix_inputs(encoder: Encoder) -> dict[str, tuple[str, Floats]]:
    """Return, by the name of each matrix, the name of what goes into it in the graph, and its weights."""
    found: dict[str, tuple[str, Floats]] = {}
    before = "first"
    for number, layer in enumerate(encoder.layers):
        name = f"{number}"
        found |= {
            f"{name}.qkv": (before, layer.queries_keys_values.weight),
            f"{name}.attended": (f"{name}.context", layer.attended.weight),
            f"{name}.widened": (f"{name}.attention", layer.widened.weight),
            f"{name}.narrowed": (f"{name}.active", layer.narrowed.weight),
        }
        before = f"{name}.out"
    return found


class _Graph:
    """Collects nodes and constants."""

    def __init__(self, smoothing: Mapping[str, Floats] | None, epsilon: float) -> None:
        self._smoothing = smoothing
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **options: Any
    ) -> None:
        self._nodes.append(
            helper.make_node(kind, inputs, outputs, name=f"make {outputs[0]}", domain=domain, **options)
        )

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    def norm(self, state: str, norm: Norm, name: str, added: str = "") -> str:
        """Normalise a state or, if something is added to it, their sum."""
        weights = [
            self.constant(f"{name}.scale", norm.scale),
            self.constant(f"{name}.shift", norm.shift),
        ]
        if added:
            inputs = [state, added, *weights]
            self.node("SkipLayerNormalization", inputs, [name], MICROSOFT, epsilon=self._epsilon)
        else:
            self.node("LayerNormalization", [state, *weights], [name], epsilon=self._epsilon)
        return name

    def encode(self, source: str, encoder: Encoder) -> str:
        """Add the layers behind ``source``, and return the name of the last one's states."""
        hidden = len(encoder.first_norm.scale)
        state = self.norm(source, encoder.first_norm, "first")
        for number, layer in enumerate(encoder.layers):
            name = f"{number}"
            mixed = self.linear(state, layer.queries_keys_values, f"{name}.qkv")
            parts = [f"{name}.{part}" for part in ("queries", "keys", "values")]
            self.node("Split", [mixed, self.integers(f"{name}.sizes", [hidden] * 3)], parts, axis=-1)
            self.node("MultiHeadAttention", parts, [f"{name}.context"], MICROSOFT, num_heads=encoder.heads)
            attended = self.linear(f"{name}.context", layer.attended, f"{name}.attended")
            state = self.norm(state, layer.attention_norm, f"{name}.attention", added=attended)
            widened = self.linear(state, layer.widened, f"{name}.widened")
            self.node("Gelu", [widened], [f"{name}.active"], MICROSOFT)
            narrowed = self.linear(f"{name}.active", layer.narrowed, f"{name}.narrowed")
            state = self.norm(state, layer.norm, f"{name}.out", added=narrowed)
        return state

    def linear(self, state: str, linear: Linear, name: str) -> str:
        bias = self.constant(f"{name}.bias", linear.bias)
        if self._smoothing is None:
            product = f"{name}.product"
            self.node("MatMul", [state, self.constant(f"{name}.weight", linear.weight.T)], [product])
            self.node("Add", [product, bias], [name])
            return name
        factors = self._smoothing[name]
        smooth = f"{name}.smooth"
        self.node("Mul", [state, self.constant(f"{name}.factors", 1 / factors)], [smooth])
        rounded, scales = to_8_bits(linear.weight * factors)
        weights = [
            self.constant(f"{name}.weight", rounded.T),
            self.constant(f"{name}.scales", scales),
            self.constant(f"{name}.zeros", np.zeros(len(scales), np.int8)),
        ]
        self.node("DynamicQuantizeMatMul", [smooth, *weights, bias], [name], MICROSOFT)
        return name

    def serialised(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        shown: Sequence[str] = (),
    ) -> bytes:
        """Return the model's bytes; inputs and outputs by their shapes, ``shown`` outputs of any."""
        shapes: dict[str, Sequence[int | str] | None] = {**outputs, **dict.fromkeys(shown)}
        taken, given = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends.items()]
            for ends in (inputs, shapes)
        )
        made = helper.make_graph(self._nodes, "encoder", taken, given, self._constants)
        versions = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(made, opset_imports=versions, ir_version=IR_VERSION)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def to_8_bits(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return the rounded rows and, for each, the scale that multiplies it back."""
    scales = np.abs(weight).max(axis=1) / LARGEST
    scales[scales == 0] = 1
    return np.rint(weight / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def read_encoder(path: Path, heads: int, epsilon: float) -> Encoder:
    """Return the encoder of a graph that ``graph`` or ``pair_graph`` made, its weights as they were rounded.

    Raises ConfigError where the file is no such graph.
    """
    try:
        constants = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}

        def norm(name: str) -> Norm:
            return Norm(constants[f"{name}.scale"].copy(), constants[f"{name}.shift"].copy())

        def linear(name: str) -> Linear:
            weight = constants[f"{name}.weight"].T.astype(np.float32)
            if f"{name}.scales" in constants:
                # The factors are kept as what the inputs are multiplied by.
                weight = weight * constants[f"{name}.scales"][:, None] * constants[f"{name}.factors"]
            return Linear(weight, constants[f"{name}.bias"].copy())

        count = sum(name.endswith(".qkv.bias") for name in constants)
        layers = [
            Layer(
                linear(f"{number}.qkv"),
                linear(f"{number}.attended"),
                norm(f"{number}.attention"),
                linear(f"{number}.widened"),
                linear(f"{number}.narrowed"),
                norm(f"{number}.out"),
            )
            for number in range(count)
        ]
        return Encoder(norm("first"), layers, heads, epsilon)
    except (OSError, DecodeError, KeyError) as exc:
        raise ConfigError(f"{path} is no graph that was built here") from exc


def read_head(path: Path) -> Linear:
    """Return the head of a graph that ``pair_graph`` made; ConfigError where the file is no such graph."""
    try:
        constants = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
        return Linear(constants["head"].T.copy(), constants["base"].copy())
    except (OSError, DecodeError, KeyError) as exc:
        raise ConfigError(f"{path} is no graph that was built here") from exc
