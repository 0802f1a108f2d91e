"""What makes a V-Net of a network; that it works like any other is tested with the U-Net."""

import pytest
import torch
from torch import nn

from napari_segtrain.network import MultiTaskVNet, NetworkPlan, build_network
from napari_segtrain.network.blocks import ConvBlock
from napari_segtrain.network.vnet import ResidualStage


@pytest.fixture(params=[2, 3])
def network(request, small_plan, head):
    torch.manual_seed(0)
    return build_network(small_plan(request.param, heads=[head("a")], patch=32, architecture="vnet"))


def convolutions(module):
    return [len([m for m in stage.modules() if isinstance(m, ConvBlock)]) for stage in module]


def test_its_plan_is_that_of_the_paper(network):
    plan = network.plan
    assert isinstance(network, MultiTaskVNet)
    assert plan.features == (4, 8, 16, 32)
    assert plan.blocks_per_stage == (1, 2, 3, 3)
    assert {size for kernel in plan.kernel_sizes for size in kernel} == {5}
    assert plan.nonlinearity == "prelu"
    assert convolutions(network.encoder.stages) == [1, 2, 3, 3]
    (decoder,) = network.decoders.values()
    assert convolutions(decoder.blocks) == [3, 2, 1]
    assert [block.outputs for block in decoder.blocks] == [32, 16, 8]
    pooling = [m for m in network.modules() if isinstance(m, nn.AvgPool2d | nn.AvgPool3d | nn.MaxPool2d)]
    assert pooling == []
    strided = [m for m in network.encoder.modules() if getattr(m, "stride", (1,))[0] == 2]
    assert [m.kernel_size for m in strided] == [(2,) * plan.ndim] * 3


@pytest.mark.parametrize("inputs", [1, 3, 8])
def test_a_stage_adds_its_input_to_what_its_convolutions_make_of_it(small_plan, inputs):
    plan = small_plan(2, architecture="vnet", norm="none", nonlinearity="relu")
    stage = ResidualStage(plan, inputs, 8, 2, (5, 5))
    for parameter in stage.branch[-1].parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, inputs, 6, 6)
    channels = [n % inputs for n in range(8)]
    assert torch.equal(stage(x), torch.relu(x[:, channels]))


def test_the_coarsest_features_reach_the_output(network):
    last = list(network.encoder.stages[-1].parameters())
    network(torch.randn(1, 1, *network.plan.patch_size))["a"].square().sum().backward(inputs=last)
    assert all(bool(parameter.grad.any()) for parameter in last)


def test_a_plan_from_before_there_were_kinds_is_a_unet(small_plan):
    values = small_plan(2).to_dict()
    del values["architecture"]
    assert NetworkPlan.model_validate(values).architecture == "unet"
