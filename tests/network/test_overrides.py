"""Every key of `model_config` does what it says: looked for in the modules, and seen in the outputs."""

from collections import Counter

import pytest
import torch
from torch import nn

from napari_segtrain.config import DataFacts, ExperimentConfig, NetworkConfig
from napari_segtrain.network import build_network, make_plan
from napari_segtrain.network.blocks import ConvBlock, ResidualBlock, SqueezeExcitation, StochasticDepth
from napari_segtrain.network.decoder import Interpolate
from napari_segtrain.targets import resolve_heads

ND = {
    name: {ndim: getattr(nn, f"{name}{ndim}d") for ndim in (2, 3)}
    for name in ("Conv", "ConvTranspose", "BatchNorm", "Dropout", "AvgPool", "MaxPool")
}
NONLINEARITY = {
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
}
BASE = {"base_features": 16, "blocks_per_stage": (1, 2, 1), "max_poolings": 2}


@pytest.fixture(params=[2, 3])
def ndim(request):
    return request.param


@pytest.fixture
def build(small_plan, head, ndim):
    """Build a network of three stages with the same random numbers and the given overrides."""

    def make(**overrides):
        torch.manual_seed(0)
        return build_network(small_plan(ndim, heads=[head("a")], **{**BASE, **overrides}))

    return make


def modules(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def kernels(part):
    """Kernel sizes of the convolutions that look at neighbours or could."""
    return {block[0].kernel_size for block in modules(part, ConvBlock)}


def output(network, mode):
    torch.manual_seed(1)
    with torch.no_grad():
        made = network.train(mode)(torch.randn(2, network.plan.in_channels, *network.plan.patch_size))
    return made["a"][0] if isinstance(made["a"], list) else made["a"]


DIFFERENT = {
    "architecture": "vnet",
    "weights": None,  # of a run: tests/training/test_pretrained.py
    "in_channels": None,  # of the data, not of the plan alone: see below
    "features": (16, 24, 40),
    "base_features": 8,
    "max_features": 32,
    "max_poolings": 1,
    "blocks_per_stage": (2, 1, 1),
    "decoder_blocks": 2,
    "kernel_sizes": {2: ((5, 3), (3, 3), (1, 3)), 3: ((1, 5, 3), (3, 3, 3), (3, 1, 3))},
    "strides": {2: ((1, 1), (2, 1), (2, 4)), 3: ((1, 1, 1), (1, 2, 2), (2, 1, 4))},
    "norm": "batch",
    "nonlinearity": "gelu",
    "dropout": 0.4,
    "squeeze_excitation": True,
    "stochastic_depth": 0.4,
    "pooling": "max",
    "upsampling": "interpolate",
    "deep_supervision": True,
    "decoders": None,  # decided with the heads: see below
}


def test_there_is_another_value_for_every_key():
    assert set(DIFFERENT) == set(NetworkConfig.model_fields)


@pytest.mark.parametrize("name", [n for n, value in DIFFERENT.items() if value is not None])
def test_another_value_makes_another_network(build, ndim, name):
    value = DIFFERENT[name]
    value = value[ndim] if isinstance(value, dict) else value
    overrides = {name: value}
    if name in ("max_poolings",):
        overrides["blocks_per_stage"] = (1, 2)
    network, plain = build(**overrides), build()
    if name == "deep_supervision":
        inputs = torch.randn(1, 1, *network.plan.patch_size)
        assert len(network.train()(inputs)["a"]) == 2
        assert isinstance(plain.train()(inputs)["a"], torch.Tensor)
        return
    # Blocks start as identities, which would hide what is in them.
    for one in (network, plain):
        torch.manual_seed(2)
        for parameter in one.parameters():
            nn.init.normal_(parameter, std=0.2)
    assert not torch.allclose(output(network, True), output(plain, True), atol=1e-4)
    # What acts while training only leaves predictions alone.
    if name in ("dropout", "stochastic_depth"):
        torch.testing.assert_close(output(network, False), output(plain, False))


def test_features_are_the_widths_of_the_stages(build):
    def widths(network):
        return tuple(stage[0].branch[0][0].out_channels for stage in network.encoder.stages)

    assert widths(build()) == (16, 32, 64)
    assert widths(build(base_features=8)) == (8, 16, 32)
    assert widths(build(max_features=24)) == (16, 24, 24)
    assert widths(build(features=(8, 12, 20))) == (8, 12, 20)


def test_blocks_are_counted_a_stage(build):
    def counted(network):
        return tuple(len(modules(stage, ResidualBlock)) for stage in network.encoder.stages)

    assert counted(build()) == (1, 2, 1)
    assert counted(build(blocks_per_stage=(3, 1, 2))) == (3, 1, 2)
    for blocks in (1, 3):
        (decoder,) = build(decoder_blocks=blocks).decoders.values()
        assert [len(modules(stage, ConvBlock)) for stage in decoder.blocks] == [blocks, blocks]


def test_kernels_are_those_of_their_stage_in_encoder_and_decoder(build, ndim):
    wanted = DIFFERENT["kernel_sizes"][ndim]
    network = build(kernel_sizes=wanted)
    assert [kernels(stage) for stage in network.encoder.stages] == [{kernel} for kernel in wanted]
    (decoder,) = network.decoders.values()
    assert [kernels(block) for block in decoder.blocks] == [{wanted[1]}, {wanted[0]}]


@pytest.mark.parametrize("pooling", ["strided", "max", "average"])
def test_strides_are_what_maps_shrink_by_whatever_pools(build, ndim, pooling):
    wanted = DIFFERENT["strides"][ndim]
    network = build(strides=wanted, pooling=pooling).eval()
    size = network.plan.patch_size
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 1, *size))
    expected = []
    for stride in wanted:
        size = tuple(n // s for n, s in zip(size, stride, strict=True))
        expected.append(size)
    assert [tuple(f.shape[2:]) for f in features] == expected


@pytest.mark.parametrize("pooling", ["strided", "max", "average"])
def test_a_stage_is_made_smaller_by_what_was_chosen(build, ndim, pooling):
    encoder = build(pooling=pooling).encoder
    branches = nn.ModuleList(block.branch for block in modules(encoder, ResidualBlock))
    strided = [conv for conv in modules(branches, ND["Conv"][ndim]) if max(conv.stride) > 1]
    assert len(strided) == (2 if pooling == "strided" else 0)
    first = [stage[0] for stage in encoder.stages[1:]]
    kind = {"strided": ResidualBlock, "max": ND["MaxPool"][ndim], "average": ND["AvgPool"][ndim]}[pooling]
    assert all(isinstance(layer, kind) for layer in first)


@pytest.mark.parametrize("upsampling", ["transposed", "interpolate"])
def test_maps_grow_again_by_what_was_chosen(build, ndim, upsampling):
    network = build(upsampling=upsampling)
    transposed = upsampling == "transposed"
    assert len(modules(network, ND["ConvTranspose"][ndim])) == (2 if transposed else 0)
    assert len(modules(network, Interpolate)) == (0 if transposed else 2)


@pytest.mark.parametrize("norm", ["instance", "group", "batch", "none"])
def test_features_are_normalised_as_chosen(build, ndim, norm):
    network = build(norm=norm)
    groups = modules(network, nn.GroupNorm)
    batches = modules(network, ND["BatchNorm"][ndim])
    convolutions = [block[0] for block in modules(network, ConvBlock)]
    assert bool(batches) == (norm == "batch")
    assert bool(groups) == (norm in ("instance", "group"))
    assert len(groups) + len(batches) >= (0 if norm == "none" else len(convolutions))
    # A normalisation takes a bias away again.
    assert all((conv.bias is not None) == (norm == "none") for conv in convolutions)
    if norm == "instance":
        assert all(layer.num_groups == layer.num_channels for layer in groups)
    if norm == "group":
        assert all(layer.num_groups == 8 for layer in groups)


@pytest.mark.parametrize("architecture", ["unet", "vnet"])
@pytest.mark.parametrize("name", NONLINEARITY)
def test_there_is_one_nonlinearity_and_it_is_the_chosen_one(build, name, architecture):
    network = build(nonlinearity=name, architecture=architecture)
    found = Counter(type(module) for module in network.modules() if type(module) in NONLINEARITY.values())
    assert set(found) == {NONLINEARITY[name]}


def test_dropout_is_in_every_convolution_block(build, ndim):
    network = build(dropout=0.25)
    layers = modules(network, ND["Dropout"][ndim])
    assert len(layers) == len(modules(network, ConvBlock))
    assert {layer.p for layer in layers} == {0.25}
    assert not modules(build(), ND["Dropout"][ndim])


def test_gates_and_skipping_are_in_every_residual_block(build):
    network = build(squeeze_excitation=True, stochastic_depth=0.3)
    blocks = len(modules(network, ResidualBlock))
    assert len(modules(network, SqueezeExcitation)) == blocks
    assert [layer.p for layer in modules(network, StochasticDepth)] == [0.3] * blocks
    assert not modules(build(), SqueezeExcitation | StochasticDepth)


def test_a_gate_scales_channels_by_what_is_in_them():
    torch.manual_seed(0)
    gate = SqueezeExcitation(4)
    x = torch.randn(3, 4, 5, 6)
    hidden = torch.relu(gate.gate[0](x.mean((2, 3))))
    weights = torch.sigmoid(gate.gate[2](hidden))
    torch.testing.assert_close(gate(x), x * weights[:, :, None, None])


@pytest.mark.parametrize(("decoders", "count"), [("separate", 2), ("shared", 1)])
def test_outputs_have_decoders_of_their_own_or_share_one(ndim, decoders, count):
    config = ExperimentConfig.parse(
        {
            "model_config": {"decoders": decoders, "base_features": 4, "max_poolings": 1, "in_channels": 3},
            "dataset_config": {"targets": {"t": {"kind": "binary"}}},
            "auxiliary_tasks": {"n": {"type": "surface_normals", "source_target": "t"}},
        }
    )
    facts = DataFacts(ndim=ndim, shape=(32,) * ndim, spacing=(1.0,) * ndim)
    plan = make_plan(
        config.network,
        ndim=ndim,
        in_channels=config.network.in_channels,
        patch_size=(16,) * ndim,
        spacing=facts.spacing,
        shape=facts.shape,
        heads=resolve_heads(config, facts),
    )
    network = build_network(plan).eval()
    assert len(network.decoders) == count
    with torch.no_grad():
        outputs = network(torch.randn(1, 3, *plan.patch_size))
    assert {name: made.shape[1] for name, made in outputs.items()} == {"t": 1, "n": ndim}
