import json

import pytest
import torch

from napari_segtrain.config import ConfigError, NetworkConfig
from napari_segtrain.network import NetworkPlan, build_network, make_plan
from napari_segtrain.network.blocks import StochasticDepth

OVERRIDES = [
    {},
    {"norm": "batch"},
    {"norm": "group"},
    {"norm": "none"},
    {"nonlinearity": "relu"},
    {"nonlinearity": "gelu"},
    {"nonlinearity": "silu"},
    {"nonlinearity": "mish"},
    {"dropout": 0.2},
    {"squeeze_excitation": True},
    {"stochastic_depth": 0.3},
    {"pooling": "max"},
    {"pooling": "average"},
    {"upsampling": "interpolate"},
    {"decoder_blocks": 2},
    {"max_poolings": 0},
    {"deep_supervision": True},
    {"architecture": "vnet"},
    {"architecture": "vnet", "norm": "none", "nonlinearity": "relu", "decoder_blocks": 1},
    {"architecture": "vnet", "norm": "batch", "pooling": "max", "upsampling": "interpolate"},
    {"architecture": "vnet", "squeeze_excitation": True, "stochastic_depth": 0.3, "dropout": 0.2},
    {"architecture": "vnet", "max_poolings": 0},
    {"architecture": "vnet", "deep_supervision": True},
]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("overrides", OVERRIDES, ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items()))
def test_every_override_trains_in_both_dimensions(small_plan, ndim, overrides):
    torch.manual_seed(0)
    plan = small_plan(ndim, in_channels=2, **overrides)
    network = build_network(plan).train()
    outputs = network(torch.randn(2, 2, *plan.patch_size))
    finest = {name: o[0] if isinstance(o, list) else o for name, o in outputs.items()}
    assert {name: tuple(o.shape[1:]) for name, o in finest.items()} == {
        "cells": (1, *plan.patch_size),
        "normals": (ndim, *plan.patch_size),
    }
    sum(
        part.square().mean()
        for output in outputs.values()
        for part in (output if isinstance(output, list) else [output])
    ).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []
    heads = [p.grad.abs().sum() for name, p in network.named_parameters() if name.startswith("heads.")]
    assert all(g > 0 for g in heads)


@pytest.fixture(params=["unet", "vnet"])
def architecture(request):
    return request.param


@pytest.mark.parametrize("ndim", [2, 3])
def test_deep_supervision_gives_each_resolution_while_training_only(small_plan, ndim, architecture):
    plan = small_plan(ndim, patch=32, deep_supervision=True, architecture=architecture)
    network = build_network(plan)
    x = torch.randn(1, 1, *plan.patch_size)
    sizes = [tuple(o.shape[2:]) for o in network.train()(x)["cells"]]
    assert sizes == [(32,) * ndim, (16,) * ndim, (8,) * ndim]
    with torch.no_grad():
        assert network.eval()(x)["cells"].shape[2:] == plan.patch_size


@pytest.mark.parametrize(("patch", "rounded"), [((100, 100), (112, 112)), ((20, 30, 30), (20, 32, 32))])
def test_a_patch_that_no_pooling_divides_trains_at_the_size_it_is_rounded_to(head, patch, rounded):
    ndim = len(patch)
    plan = make_plan(
        NetworkConfig(base_features=4),
        ndim=ndim,
        in_channels=1,
        patch_size=patch,
        spacing=(1.0,) * ndim,
        shape=(200,) * ndim,
        heads=[head("a")],
    )
    assert plan.patch_size == rounded
    torch.manual_seed(0)
    network = build_network(plan).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    x = torch.randn(2, 1, *plan.patch_size)
    losses = []
    for _ in range(2):
        loss = (network(x)["a"] - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_one_encoder_pass_serves_all_decoders(small_plan):
    network = build_network(small_plan(2)).eval()
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        network(torch.randn(1, 1, 16, 16))
    assert len(calls) == 1
    assert len(network.decoders) == 2


def test_a_shared_decoder_feeds_several_heads(small_plan, head):
    shared = build_network(small_plan(2, heads=[head("a", 1, "shared"), head("b", 2, "shared")]))
    separate = build_network(small_plan(2, heads=[head("a"), head("b", 2)]))
    assert len(shared.decoders) == 1
    assert sum(p.numel() for p in shared.parameters()) < sum(p.numel() for p in separate.parameters())


def test_a_heads_loss_does_not_touch_another_decoder(small_plan):
    network = build_network(small_plan(2))
    network(torch.randn(1, 1, 16, 16))["cells"].mean().backward()
    touched = {
        n.split(".")[1] for n, p in network.decoders.named_parameters(prefix="d") if p.grad is not None
    }
    assert touched == {"_cells"}


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_network_is_rebuilt_from_its_plan_alone(small_plan, ndim, architecture):
    overrides = {"squeeze_excitation": True, "upsampling": "interpolate", "architecture": architecture}
    network = build_network(small_plan(ndim, **overrides)).eval()
    plan = NetworkPlan.model_validate(json.loads(json.dumps(network.plan.to_dict())))
    rebuilt = build_network(plan).eval()
    rebuilt.load_state_dict(network.state_dict())
    x = torch.randn(1, 1, *plan.patch_size)
    with torch.no_grad():
        for name, output in network(x).items():
            assert torch.equal(output, rebuilt(x)[name])


@pytest.mark.parametrize("name", ["keys", "pop", "type", "forward", "a.b", "a b", "ä"])
def test_targets_may_have_any_name(small_plan, head, name):
    network = build_network(small_plan(2, heads=[head(name)]))
    with torch.no_grad():
        assert list(network(torch.randn(1, 1, 16, 16))) == [name]


def test_an_unfit_size_is_refused_with_the_size_to_pad_to(small_plan, architecture):
    network = build_network(small_plan(2, architecture=architecture))
    with pytest.raises(ConfigError, match=r"pad to \(16, 24\)"):
        network(torch.randn(1, 1, 15, 21))
    with pytest.raises(ConfigError, match="1, 2 axes"):
        network(torch.randn(1, 3, 16, 16))


def test_anisotropic_kernels_do_not_mix_slices(head):
    plan = make_plan(
        NetworkConfig(base_features=4, max_poolings=1, norm="none"),
        ndim=3,
        in_channels=1,
        patch_size=(8, 16, 16),
        spacing=(8.0, 1.0, 1.0),
        shape=(8, 64, 64),
        heads=[head("a")],
    )
    assert {k[0] for k in plan.kernel_sizes} == {1}
    network = build_network(plan).eval()
    x = torch.randn(1, 1, 8, 16, 16)
    changed = x.clone()
    changed[:, :, 3] += 1
    with torch.no_grad():
        difference = (network(x)["a"] - network(changed)["a"]).abs().amax((0, 1, 3, 4))
    assert [bool(d > 0) for d in difference] == [z == 3 for z in range(8)]


def test_channels_last_changes_nothing_but_the_layout(small_plan, architecture):
    for ndim in (2, 3):
        network = build_network(small_plan(ndim, architecture=architecture)).eval()
        x = torch.randn(1, 1, *network.plan.patch_size)
        with torch.no_grad():
            before = network(x)
            network.use_channels_last()
            after = network(x)
        for name in before:
            torch.testing.assert_close(before[name], after[name], atol=1e-4, rtol=1e-4)


def test_stochastic_depth_keeps_the_expectation_and_rests_in_evaluation():
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    x = torch.ones(20_000, 1, 1, 1)
    out = layer.train()(x)
    assert sorted(out.unique().tolist()) == [0.0, pytest.approx(4 / 3)]
    assert out.mean() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_features_that_are_computed_again_give_the_same_gradients(small_plan, ndim, norm, architecture):
    plan = small_plan(ndim, norm=norm, dropout=0.2, deep_supervision=True, architecture=architecture)
    found = []
    for again in (False, True):
        torch.manual_seed(0)
        network = build_network(plan)
        network.checkpointing = again
        outputs = network(torch.randn(2, 1, *plan.patch_size))
        sum(level.square().mean() for levels in outputs.values() for level in levels).backward()
        found.append(({n: p.grad for n, p in network.named_parameters()}, network.state_dict()))
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
