"""Vision transformers that classify by their class token, and the attention weights of their layers.

Shapes: B images, G attention heads, T tokens (the prefix, then the patches in rows), C classes.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClassTokenTransformer(nn.Module):
    """A vision transformer of torchvision or timm whose classifier reads the class token.

    Args:
        network: maps images to logits.
        num_prefix_tokens: at least 1, the tokens before those of the patches: first the class token, then registers
            where the network has some.
        errors: around every pass of the network.
    """

    def __init__(
        self, network: nn.Module, num_prefix_tokens: int, errors: AbstractContextManager[None] | None = None
    ) -> None:
        super().__init__()
        self._errors = nullcontext() if errors is None else errors
        self.network = network
        self.num_prefix_tokens = num_prefix_tokens

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer that reads the class token."""
        return _last_linear(self.network)

    @property
    def classifier_weight(self) -> Tensor:
        """Its weight (C, D)."""
        return self.classifier.weight

    def forward(self, images_BDHW: Tensor) -> Tensor:
        """Return logits_BC."""
        with self._errors:
            logits_BC: Tensor = self.network(images_BDHW)
        return logits_BC

    def forward_with_attention(self, images_BDHW: Tensor, on_layer: Callable[[Tensor], None]) -> Tensor:
        """Return logits_BC, and pass the attention weights of each layer to ``on_layer`` in order. No gradient is kept.

        Args:
            images_BDHW: as the network takes them.
            on_layer: takes the weights (B, G, T, T) of a layer; the last two dimensions are query and key.
        """

        def report(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            on_layer(_weights_of(module)(module, args[0]))

        attentions = [module for module in self.network.modules() if _is_attention(module)]
        handles = [module.register_forward_pre_hook(report) for module in attentions]
        try:
            with self._errors, torch.no_grad():
                logits_BC: Tensor = self.network(images_BDHW)
        finally:
            for handle in handles:
                handle.remove()
        return logits_BC

    def patches_per_side(self, channels: int, image_size: int) -> int:
        """Return the number of patches in a row of an image."""
        device = next(self.parameters()).device
        num_tokens = 0

        def count(weights_BGTT: Tensor) -> None:
            nonlocal num_tokens
            num_tokens = weights_BGTT.shape[-1]

        self.forward_with_attention(torch.zeros(2, channels, image_size, image_size, device=device), count)
        return math.isqrt(num_tokens - self.num_prefix_tokens)


def class_token_transformer(
    network: nn.Module, errors: AbstractContextManager[None] | None = None
) -> ClassTokenTransformer | None:
    """Return ``network`` wrapped, or None where its classifier does not read a class token.

    None too where its attention layers or its tokens are of a kind whose weights are not known here.

    Args:
        network: maps images to logits.
        errors: around every pass of it.
    """
    attentions = [module for module in network.modules() if _is_attention(module)]
    if not attentions or not all(_has_known_weights(module) for module in attentions):
        return None
    of_torchvision = all(isinstance(module, nn.MultiheadAttention) for module in attentions)
    if of_torchvision and hasattr(network, "class_token"):
        return ClassTokenTransformer(network, 1, errors)
    reads_class_token = (
        getattr(network, "global_pool", None) == "token" and getattr(network, "cls_token", None) is not None
    )
    num_prefix_tokens = getattr(network, "num_prefix_tokens", None)
    if of_torchvision or not reads_class_token or not isinstance(num_prefix_tokens, int):
        return None
    return None if hasattr(network, "head_dist") else ClassTokenTransformer(network, num_prefix_tokens, errors)


def _last_linear(network: nn.Module) -> nn.Linear:
    """Return the linear layer that ``network`` was given last, which is the classifier of every vision transformer."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def _is_attention(module: nn.Module) -> bool:
    # timm's class is recognised by its name and module, so that timm need not be installed.
    of_timm = type(module).__name__ == "Attention" and type(module).__module__.startswith("timm.")
    return of_timm or isinstance(module, nn.MultiheadAttention)


def _has_known_weights(module: nn.Module) -> bool:
    """Whether `_weights_of` computes what ``module`` does: timm has several classes of that name."""
    if isinstance(module, nn.MultiheadAttention):
        return True
    return all(hasattr(module, name) for name in ("qkv", "q_norm", "k_norm", "num_heads", "scale"))


def _weights_of(module: nn.Module) -> Callable[[Any, Tensor], Tensor]:
    return _torch_weights if isinstance(module, nn.MultiheadAttention) else _timm_weights


def _torch_weights(attention: nn.MultiheadAttention, x_BTD: Tensor) -> Tensor:
    """Return the weights (B, G, T, T) that ``attention`` gives the tokens of a self-attention."""
    num_heads = attention.num_heads
    query_BTD, key_BTD, _ = F.linear(x_BTD, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    query_BGTd = query_BTD.reshape(*x_BTD.shape[:2], num_heads, -1).transpose(1, 2)
    key_BGTd = key_BTD.reshape(*x_BTD.shape[:2], num_heads, -1).transpose(1, 2)
    weights_BGTT: Tensor = (query_BGTd @ key_BGTd.transpose(2, 3) / attention.head_dim**0.5).softmax(-1)
    return weights_BGTT


def _timm_weights(attention: Any, x_BTD: Tensor) -> Tensor:
    """The same for timm's `Attention`."""
    query_BGTd, key_BGTd, _ = attention.qkv(x_BTD).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query_BGTd, key_BGTd = attention.q_norm(query_BGTd), attention.k_norm(key_BGTd)
    weights_BGTT: Tensor = (query_BGTd @ key_BGTd.transpose(2, 3) * attention.scale).softmax(-1)
    return weights_BGTT
