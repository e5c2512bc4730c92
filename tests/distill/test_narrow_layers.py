"""Networks of few channels train within their memory, on processors of either width, with the right gradients.

A kernel that writes past its memory ends the process, or not, by what lies behind; so it runs in a process of its own,
under glibc's checks, and is judged by its gradients too. Where glibc is another library the checks are not made.
"""

import importlib.util

import pytest
import torch
from torch import nn

from kd_sweep.distill import compute
from tests.distill.trials import start_python

CHECKED = {"LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3", "MALLOC_CHECK_": "3"}
PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""On a busy machine threads that spin while they wait take longer."""
WITHOUT_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
PROCESSORS = {"without AVX-512": WITHOUT_AVX512, "as this one is": {}}
SMALL = [f"resnet8/{width}" for width in (1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 20)] + ["resnet14/5", "wrn-10-1"]
"""Networks that learn grey images of 16 pixels on two threads; the gradients are compared with those of float64."""
LARGE = ["resnet8/4", "resnet8/8", "resnet8/15"]
"""Networks that learn coloured images of 64 pixels, where the memory that is missing is more than what lies around."""
OF_LIBRARIES = ["timm:repvgg_a0", "timm:gernet_s"]
"""Networks with such a convolution of 3 channels, the image's, or of 13."""

TRAINS = """
import copy, sys, torch
from kd_sweep.distill.compute import to_device
from kd_sweep.study.recipe import Learner, Metrics
from kd_sweep.attention.maps import attention_maps
from kd_sweep.networks.classifiers import build_for

def gradients(network, images):
    network(images).square().sum().backward()
    return [parameter.grad for parameter in network.parameters()]

def error(found, exact):
    return float((found - exact).norm() / (exact.norm() + 1e-3))

for argument in sys.argv[1:]:
    small = argument.endswith(",small")
    model, _, width = argument.partition(",")[0].partition("/")
    channels, image_size = (1, 16) if small else (3, 64)
    torch.set_num_threads(2 if small else 1)
    torch.manual_seed(0)
    built = build_for(Learner(model=model, **({"width": int(width)} if width else {})), 5, channels, image_size)
    images = torch.randn(16, channels, image_size, image_size)
    exact = gradients(copy.deepcopy(built).double(), images.double()) if small else []
    placed = to_device(built, torch.device("cpu"))
    print(argument, max(map(error, gradients(placed, images), exact), default=0), flush=True)
    attention_maps(placed.eval().requires_grad_(False), images, Metrics(attention="grad_cam"))
"""


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_width_trains_within_its_memory_and_rightly(processor):
    with_libraries = processor == "without AVX-512" and importlib.util.find_spec("timm") is not None
    assert max(trained(SMALL, LARGE + OF_LIBRARIES * with_libraries, processor)) < 1e-3


def trained(small, large, processor):
    """Return the largest relative error of a gradient of each network, 0 for large images; the process lives on."""
    arguments = [*(f"{name},small" for name in small), *(f"{name},large" for name in large)]
    process = start_python(TRAINS, *arguments, environment={**CHECKED, **PATIENT, **PROCESSORS[processor]})
    printed, errors = process.communicate(timeout=300)
    done = [line.split() for line in printed.splitlines()]
    assert process.returncode == 0, f"{process.returncode} after {done[-1:]}: {errors[-500:]}"
    assert [argument for argument, _ in done] == arguments
    return [float(error) for _, error in done]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("convolution", "narrow"),
    [
        (nn.Conv2d(15, 32, 1, 2), True),
        (nn.Conv2d(16, 32, 1, 2), False),
        (nn.Conv2d(32, 32, 1, (1, 2), groups=4), True),
        (nn.Conv2d(4, 32, 1), False),
        (nn.Conv2d(4, 32, 3, 2, padding=1), False),
    ],
)
def test_one_narrow_layer_keeps_a_network_contiguous_on_a_cpu(convolution, narrow, device):
    network = compute.to_device(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(convolution)), torch.device(device))
    contiguous = network[0].weight.is_contiguous(memory_format=torch.contiguous_format)
    assert contiguous == (narrow and device == "cpu")
