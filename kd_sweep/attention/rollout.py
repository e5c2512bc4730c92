"""Attention rollout: how much of each patch of an image reaches the class token of a vision transformer.

Shapes: B images, G attention heads, T tokens (the prefix, then the patches in rows), h x w patches, C classes.
"""

import math

import torch
from torch import Tensor

from kd_sweep.networks.class_token_transformer import ClassTokenTransformer

CLASS_TOKEN = 0


def rollout_maps(model: ClassTokenTransformer, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits_BC and attention maps, float32 (B, h, w); see `class_token_maps`. No gradient is kept."""
    rollout = Rollout()
    logits_BC = model.forward_with_attention(images_BDHW, rollout.add)
    return logits_BC, class_token_maps(rollout.tokens(), model.num_prefix_tokens)


class Rollout:
    r"""Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928, section 3), layer by layer.

    .. math:: \tilde A(l) = A(l) \tilde A(l - 1), \quad A(l) = \tfrac12 W(l) + \tfrac12 I

    with :math:`W(l)` the attention weights of layer l, mean over its heads; its rows sum to 1, so those of A(l) do.
    One product is held however many layers there are.
    """

    def __init__(self) -> None:
        self._tokens_BTT: Tensor | None = None

    def add(self, weights_BGTT: Tensor) -> None:
        """Take the next layer's attention weights; the last two dimensions are query and key."""
        weights_BTT = weights_BGTT.detach().float().mean(1)
        mixed_BTT = 0.5 * weights_BTT + 0.5 * torch.eye(weights_BTT.shape[-1], device=weights_BTT.device)
        self._tokens_BTT = mixed_BTT if self._tokens_BTT is None else mixed_BTT @ self._tokens_BTT

    def tokens(self) -> Tensor:
        """Return how much of each input token (column) is in each output token (row), (B, T, T); rows sum to 1."""
        if self._tokens_BTT is None:
            raise ValueError("no layer's attention was added")
        return self._tokens_BTT


def class_token_maps(tokens_BTT: Tensor, num_prefix_tokens: int) -> Tensor:
    """Return how much of each patch is in the class token, float32 (B, h, w).

    Args:
        tokens_BTT: of `Rollout`; the tokens after the prefix are a square of patches, row by row.
        num_prefix_tokens: at least 1; the first is the class token.
    """
    patches_BP = tokens_BTT[:, CLASS_TOKEN, num_prefix_tokens:]
    side = math.isqrt(patches_BP.shape[1])
    return patches_BP.reshape(-1, side, side)
