"""The encoder of multilingual-e5-small in torch, to be taught and handed back to the graph's builder."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelcache.model_building.encoder import Encoder, Floats, Layer, Linear, Norm


class TaughtEncoder(nn.Module):
    """The same computation as the graph's, over a batch of padded texts; word vectors stay as they are."""

    def __init__(self, encoder: Encoder, frozen: int = 0) -> None:
        """Start from the encoder's weights; its first norm and the first ``frozen`` layers stay untaught."""
        super().__init__()
        self._like = encoder
        self._frozen = frozen
        hidden = len(encoder.first_norm.scale)
        self.first_norm = _norm(encoder.first_norm, encoder.epsilon)
        self.layers = nn.ModuleList(_TaughtLayer(layer, encoder) for layer in encoder.layers)
        self.hidden = hidden
        untaught = [self.first_norm, *list(self.layers)[:frozen]]
        for module in untaught:
            module.requires_grad_(False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the states behind the last layer, (texts, tokens, hidden); ``mask`` tells real tokens."""
        with torch.no_grad():
            states = self.first_norm(states)
        # Padded places are looked at by nobody.
        seen = mask[:, None, None, :]
        for number, layer in enumerate(self.layers):
            if number < self._frozen:
                with torch.no_grad():
                    states = layer(states, seen)
            else:
                states = layer(states, seen)
        return states

    def encoder(self) -> Encoder:
        """Return the weights as they are now."""
        layers = [cast(_TaughtLayer, layer).layer() for layer in self.layers]
        return replace(self._like, layers=layers)


class _TaughtLayer(nn.Module):
    def __init__(self, layer: Layer, encoder: Encoder) -> None:
        super().__init__()
        self.heads = encoder.heads
        self.queries_keys_values = _linear(layer.queries_keys_values)
        self.attended = _linear(layer.attended)
        self.attention_norm = _norm(layer.attention_norm, encoder.epsilon)
        self.widened = _linear(layer.widened)
        self.narrowed = _linear(layer.narrowed)
        self.norm = _norm(layer.norm, encoder.epsilon)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        texts, tokens, hidden = states.shape
        parts = self.queries_keys_values(states).view(texts, tokens, 3, self.heads, hidden // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        attended = self.attended(mixed.transpose(1, 2).reshape(texts, tokens, hidden))
        states = self.attention_norm(states + attended)
        return cast(Tensor, self.norm(states + self.narrowed(functional.gelu(self.widened(states)))))

    def layer(self) -> Layer:
        return Layer(
            queries_keys_values=_plain_linear(self.queries_keys_values),
            attended=_plain_linear(self.attended),
            attention_norm=_plain_norm(self.attention_norm),
            widened=_plain_linear(self.widened),
            narrowed=_plain_linear(self.narrowed),
            norm=_plain_norm(self.norm),
        )


def padded(texts: Sequence[Floats]) -> tuple[Tensor, Tensor]:
    """Return texts' states, each (tokens, hidden), as one batch, and a mask of the real tokens."""
    longest = max(len(text) for text in texts)
    states = np.zeros((len(texts), longest, texts[0].shape[1]), np.float32)
    mask = np.zeros((len(texts), longest), np.bool_)
    for place, text in enumerate(texts):
        states[place, : len(text)] = text
        mask[place, : len(text)] = True
    return torch.from_numpy(states), torch.from_numpy(mask)


def mean_over(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the states that the mask tells, (texts, hidden)."""
    weights = mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _linear(linear: Linear) -> nn.Linear:
    outputs, inputs = linear.weight.shape
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(linear.weight))
        made.bias.copy_(torch.from_numpy(linear.bias))
    return made


def _norm(norm: Norm, epsilon: float) -> nn.LayerNorm:
    made = nn.LayerNorm(len(norm.scale), eps=epsilon)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(norm.scale))
        made.bias.copy_(torch.from_numpy(norm.shift))
    return made


def _plain_linear(linear: nn.Linear) -> Linear:
    return Linear(_plain(linear.weight), _plain(linear.bias))


def _plain_norm(norm: nn.LayerNorm) -> Norm:
    return Norm(_plain(norm.weight), _plain(norm.bias))


def _plain(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().cpu().numpy().astype(np.float32))
