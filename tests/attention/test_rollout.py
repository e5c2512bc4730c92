"""The oracles: the paper's recursion written out token by token, and the weights that the networks computed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from kd_sweep.attention.maps import attention_maps
from kd_sweep.attention.rollout import Rollout, class_token_maps, rollout_maps
from kd_sweep.networks.class_token_transformer import class_token_transformer
from kd_sweep.study.recipe import Metrics


def slow_rollout(layers):
    """Abnar and Zuidema 2020, equation 1 and the text below it, for one image: lists of heads' weights per layer."""
    num_tokens = layers[0].shape[-1]
    rolled = None
    for heads in layers:
        raw = [[sum(head[q][k] for head in heads) / len(heads) for k in range(num_tokens)] for q in range(num_tokens)]
        mixed = [[0.5 * raw[q][k] + 0.5 * (q == k) for k in range(num_tokens)] for q in range(num_tokens)]
        mixed = [[value / sum(row) for value in row] for row in mixed]
        if rolled is not None:
            mixed = [
                [sum(mixed[q][j] * rolled[j][k] for j in range(num_tokens)) for k in range(num_tokens)]
                for q in range(num_tokens)
            ]
        rolled = mixed
    return np.array(rolled)


@settings(max_examples=30)
@given(
    st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.integers(2, 6), st.sampled_from([0.0, 1.0, 30.0])
)
def test_is_the_papers_recursion(seed, num_layers, num_heads, num_tokens, scale):
    generator = torch.Generator().manual_seed(seed)
    layers = (torch.randn(num_layers, 2, num_heads, num_tokens, num_tokens, generator=generator) * scale).softmax(-1)
    rollout = Rollout()
    for weights in layers:
        rollout.add(weights)
    for image in range(2):
        expected = slow_rollout(layers[:, image].double().numpy())
        np.testing.assert_allclose(rollout.tokens()[image], expected, atol=1e-6)
    torch.testing.assert_close(rollout.tokens().sum(2), torch.ones(2, num_tokens))


def test_of_no_layer_is_refused():
    with pytest.raises(ValueError, match="no layer's attention"):
        _ = Rollout().tokens()


@pytest.mark.parametrize("num_prefix_tokens", [1, 5])
def test_maps_are_the_class_tokens_row_over_the_patches(num_prefix_tokens):
    tokens = torch.rand(2, num_prefix_tokens + 9, num_prefix_tokens + 9)
    maps = class_token_maps(tokens, num_prefix_tokens)
    for image in range(2):
        for patch in range(9):
            assert maps[image, patch // 3, patch % 3] == tokens[image, 0, num_prefix_tokens + patch]


def torchvisions():
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(24, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network


def timms(**options):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"img_size": 24, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5} | options
    return timm.models.vision_transformer.VisionTransformer(**options)


def sharpen(network):
    """An untrained network attends to all tokens nearly alike; make its attention worth comparing."""
    for name, parameter in network.named_parameters():
        if "qkv.weight" in name or "in_proj_weight" in name:
            parameter.data.mul_(20)
    return network.eval()


def weights_from_torchvision(network, images):
    """Ask every layer for its weights."""
    layers = []
    handles = [
        layer.self_attention.register_forward_pre_hook(
            lambda module, args: layers.append(
                nn.MultiheadAttention.forward(module, *args, need_weights=True, average_attn_weights=False)[1]
            )
        )
        for layer in network.encoder.layers
    ]
    network(images)
    for handle in handles:
        handle.remove()
    return layers


def weights_from_timm(network, images):
    """With unfused attention the weights pass through `attn_drop`."""
    layers = []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, args, _output: layers.append(args[0]))
    network(images)
    return layers


CASES = {
    "torchvision": (torchvisions, weights_from_torchvision, 1),
    "timm": (timms, weights_from_timm, 1),
    "timm with registers": (lambda: timms(reg_tokens=4), weights_from_timm, 5),
    "timm with normalised queries": (lambda: timms(qk_norm=True), weights_from_timm, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_of_a_network_is_that_of_the_weights_it_computed(case):
    build, weights_of, num_prefix_tokens = CASES[case]
    network, images = sharpen(build()), torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    model = class_token_transformer(network)
    logits, maps = attention_maps(model, images, Metrics(attention="cam"))
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images))
        layers = weights_of(network, images)
    rows = np.stack([slow_rollout([layer[image].double().numpy() for layer in layers])[0] for image in range(2)])
    patches = torch.tensor(rows[:, num_prefix_tokens:]).reshape(2, 1, 3, 3)
    expected = F.interpolate(patches, (24, 24), mode="bilinear")[:, 0]
    lowest, highest = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    torch.testing.assert_close(maps.double(), (expected - lowest) / (highest - lowest), atol=1e-4, rtol=0)
    assert expected.flatten(1).std(1).min() > 1e-3


def test_leaves_nothing_behind():
    model = class_token_transformer(torchvisions())
    logits, maps = rollout_maps(model.eval(), torch.randn(2, 3, 24, 24))
    assert not logits.requires_grad
    assert not maps.requires_grad
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_trains_like_the_network_it_wraps():
    network = torchvisions()
    model = class_token_transformer(network)
    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(model.eval()(images), network(images))
    model(images).sum().backward()
    assert network.conv_proj.weight.grad.abs().sum() > 0


def test_other_networks_have_no_rollout():
    from torchvision.models import resnet18, swin_t

    assert class_token_transformer(resnet18()) is None
    assert class_token_transformer(swin_t()) is None
    assert class_token_transformer(timms(global_pool="avg")) is None
    assert class_token_transformer(timms(class_token=False, global_pool="map")) is None
