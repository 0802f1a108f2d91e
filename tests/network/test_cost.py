import logging
import math

import pytest
import torch
from torch import nn

from napari_segtrain.network import (
    build_network,
    cannot_compile,
    count_flops,
    count_parameters,
    estimate_memory,
    maybe_compile,
    step_seconds,
)
from napari_segtrain.network.compilation import worth_compiling


@pytest.mark.parametrize("ndim", [2, 3])
def test_parameters_are_those_of_the_built_network(small_plan, ndim):
    plan = small_plan(ndim)
    assert count_parameters(plan) == sum(p.numel() for p in build_network(plan).parameters())


def test_operations_of_a_plain_network_follow_from_its_layers(small_plan, head):
    plan = small_plan(2, heads=[head("a")], max_poolings=0, in_channels=1)
    voxels = math.prod(plan.patch_size)
    # stem 1→4, two 3×3 convolutions 4→4 of the one block, head 4→1; two operations a multiply-add
    assert count_flops(plan) == 2 * voxels * (9 * 4 + 2 * 9 * 16 + 4)


@pytest.mark.parametrize("ndim", [2, 3])
def test_memory_covers_what_autograd_keeps(small_plan, ndim):
    plan = small_plan(ndim, patch=32)
    network = build_network(plan)
    kept = {}

    def remember(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        outputs = network(torch.randn(2, 1, *plan.patch_size))
    held = sum(kept.values()) + sum(o.untyped_storage().nbytes() for o in outputs.values())
    estimate = estimate_memory(plan, 2)
    assert held <= estimate <= 2 * held + 16 * count_parameters(plan)


def test_memory_grows_with_the_batch_and_is_less_without_training(small_plan):
    plan = small_plan(3, patch=32)
    assert 1.5 < estimate_memory(plan, 4) / estimate_memory(plan, 2) <= 2.0
    assert estimate_memory(plan, 2, training=False) < estimate_memory(plan, 2)
    assert estimate_memory(plan, 4, recompute=True) < 0.75 * estimate_memory(plan, 4)


def test_time_is_proportional_to_the_work(small_plan):
    plan = small_plan(2)
    assert step_seconds(plan, 6) == pytest.approx(2 * step_seconds(plan, 3))


def test_compiling_is_for_long_work_only(small_plan):
    network = build_network(small_plan(2))
    assert not worth_compiling(network, 1, "cpu", 10)
    assert worth_compiling(network, 1, "cpu", 10**9)


def test_without_a_compiler_the_network_stays_as_it_is(small_plan, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "C++ compiler" in cannot_compile("cpu")
    network = build_network(small_plan(2))
    assert maybe_compile(network, "cpu", batch_size=1, expected_steps=10**9, switch="on") is False
    assert network.memory_format is None


def test_a_compiler_that_does_not_run_is_none(small_plan, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    assert cannot_compile("cpu") == "the C++ compiler false does not run"
    network = build_network(small_plan(2))
    assert maybe_compile(network, "cpu", batch_size=1, expected_steps=10**9, switch="on") is False
    x = torch.randn(1, 1, *network.plan.patch_size)
    assert network(x)["cells"].isfinite().all()


@pytest.mark.parametrize(("device", "why"), [("mps", "Apple GPUs"), ("cuda", "triton")])
def test_a_gpu_that_cannot_be_compiled_for_is_said(monkeypatch, device, why):
    monkeypatch.setattr("napari_segtrain.network.compilation.find_spec", lambda name: None)
    assert why in cannot_compile(device)


@pytest.mark.parametrize(
    ("switch", "steps", "compiled"),
    [("auto", 10, False), ("auto", 10**9, True), ("on", 1, True), ("off", 10**9, False)],
)
def test_the_work_ahead_decides_unless_the_user_does(small_plan, monkeypatch, switch, steps, compiled):
    network = build_network(small_plan(2))
    asked = []
    monkeypatch.setattr("napari_segtrain.network.compilation.cannot_compile", lambda device: False)
    monkeypatch.setattr(network, "compile", lambda **options: asked.append(options))
    decided = maybe_compile(network, "cpu", batch_size=1, expected_steps=steps, switch=switch)
    assert decided is compiled
    assert asked == ([{"dynamic": False}] if compiled else [])
    assert (network.memory_format is torch.channels_last) == compiled


def test_what_the_compiler_cannot_handle_runs_as_it_was(small_plan, monkeypatch):
    """Of a graph that does not compile, eager's own numbers come out, and no page of explanations."""

    def broken(graph, inputs):
        raise RuntimeError("no code for this processor")

    said = []
    logger, handler = logging.getLogger("torch._dynamo"), logging.Handler()
    handler.emit = said.append
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.WARNING)
    torch.manual_seed(0)
    network = build_network(small_plan(2, max_poolings=0)).eval()
    x = torch.randn(1, 1, *network.plan.patch_size)
    monkeypatch.setattr("napari_segtrain.network.compilation.cannot_compile", lambda device: False)
    monkeypatch.setattr(network, "compile", lambda **options: nn.Module.compile(network, backend=broken))
    with torch.no_grad():
        before = network(x)
        assert maybe_compile(network, "cpu", batch_size=1, expected_steps=1, switch="on")
        after = network(x)
    torch.testing.assert_close(before["cells"], after["cells"], atol=1e-5, rtol=1e-5)
    assert said == []


def test_switched_off_means_off(small_plan):
    network = build_network(small_plan(2))
    assert maybe_compile(network, "cpu", batch_size=1, expected_steps=10**12, switch="off") is False


@pytest.mark.slow
@pytest.mark.skipif(bool(cannot_compile("cpu")), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_computes_the_same_and_keeps_its_names(small_plan):
    torch.manual_seed(0)
    network = build_network(small_plan(2, max_poolings=1)).eval()
    names = list(network.state_dict())
    x = torch.randn(1, 1, *network.plan.patch_size)
    with torch.no_grad():
        before = network(x)
        assert maybe_compile(network, "cpu", batch_size=1, expected_steps=1, switch="on")
        after = network(x)
    assert list(network.state_dict()) == names
    for name in before:
        torch.testing.assert_close(before[name], after[name], atol=1e-4, rtol=1e-4)
