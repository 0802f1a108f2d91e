"""What every loss in the table must do, whatever its formula."""

import inspect

import pytest
import torch

from napari_segtrain.losses import LOSSES, Loss, create

NDIM = pytest.mark.parametrize("ndim", [2, 3])


@pytest.fixture
def case(loss_case, settings, sample, channels_of):
    name, encoding = loss_case

    def make(ndim, **options):
        loss = create(name, **settings.get(name, {}))
        return loss, *sample(encoding, ndim, channels=channels_of(name, encoding, ndim), **options)

    return make


@NDIM
def test_gradient_agrees_with_finite_differences(case, ndim):
    loss, prediction, target, mask = case(ndim, batch=1, size=3)
    spacing = (2.0, 1.0, 0.5)[-ndim:]
    # Kinks of absolute errors are avoided: random numbers do not meet them.
    assert torch.autograd.gradcheck(lambda p: loss(p, target, mask, spacing=spacing), prediction, eps=1e-6)


@NDIM
def test_value_is_a_positive_finite_scalar_that_falls_along_the_gradient(case, ndim):
    loss, prediction, target, mask = case(ndim)
    value = loss(prediction, target, mask)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value > 0
    (gradient,) = torch.autograd.grad(value, prediction)
    step = 1e-4 / gradient.norm()
    assert loss(prediction - step * gradient, target, mask) < value


@NDIM
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_computed_in_float32(case, ndim, dtype):
    loss, prediction, target, mask = case(ndim, dtype=torch.float32)
    narrow = prediction.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(narrow, target, mask)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(narrow.float(), target, mask), rtol=1e-6, atol=1e-7)
    value.backward()
    assert narrow.grad.dtype == dtype
    assert torch.isfinite(narrow.grad).all()


@NDIM
def test_what_is_not_labelled_changes_nothing(case, ndim):
    loss, prediction, target, mask = case(ndim)
    value = loss(prediction, target, mask)
    (gradient,) = torch.autograd.grad(value, prediction)
    other = torch.where(mask, prediction, 37.0)
    truth = torch.where(mask, target, torch.nan if target.is_floating_point() else 99)
    torch.testing.assert_close(loss(other, truth, mask), value)
    assert (gradient[~mask.expand_as(gradient)] == 0).all()


@NDIM
def test_a_mask_equals_computing_on_the_kept_voxels_alone(case, ndim):
    loss, prediction, target, mask = case(ndim, batch=1, size=6)
    half = torch.zeros_like(mask)
    half[:, :, :3] = True
    everything = torch.ones_like(mask[:, :, :3])
    torch.testing.assert_close(
        loss(prediction, target, half), loss(prediction[:, :, :3], target[:, :, :3], everything)
    )


@NDIM
def test_without_a_labelled_voxel_it_is_zero_and_still_has_a_graph(case, ndim):
    loss, prediction, target, mask = case(ndim)
    value = loss(prediction, target, torch.zeros_like(mask))
    assert value == 0
    value.backward()
    assert (prediction.grad == 0).all()


def test_extreme_predictions_stay_finite(case):
    loss, prediction, target, mask = case(2)
    for factor in (0.0, 1e4, -1e4):
        extreme = (prediction.detach() * factor).float().requires_grad_()
        value = loss(extreme, target.float() if target.is_floating_point() else target, mask)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(extreme.grad).all()


def test_it_holds_no_state_and_survives_copy_and_save(case, tmp_path):
    loss, prediction, target, mask = case(2)
    assert isinstance(loss, Loss)
    assert not list(loss.parameters())
    before = loss(prediction, target, mask)
    torch.save(loss, tmp_path / "loss.pt")
    again = torch.load(tmp_path / "loss.pt", weights_only=False)
    again.load_state_dict(loss.state_dict())
    assert again(prediction, target, mask) == before
    assert loss.eval()(prediction, target, mask) == before


def test_shapes_that_do_not_fit_are_refused(case):
    loss, prediction, target, mask = case(2)
    with pytest.raises(ValueError, match="do not fit"):
        loss(prediction, target, mask[:, :, :4])
    with pytest.raises(ValueError, match="do not fit"):
        loss(prediction, target[:, :, :4], mask)
    with pytest.raises(ValueError, match="target has 5 channels"):
        loss(prediction, torch.cat([target[:, :1]] * 5, dim=1), mask)


def test_every_setting_is_documented(loss_case):
    loss = type(create(loss_case[0]))
    text = (inspect.getdoc(loss) or "") + "".join(inspect.getdoc(base) or "" for base in loss.__mro__[1:3])
    for name in inspect.signature(loss).parameters:
        assert name in text, name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_with_the_processor(sample, channels_of):
    for name, spec in LOSSES.items():
        for encoding in spec.encodings:
            channels = channels_of(name, encoding, 3)
            prediction, target, mask = sample(encoding, 3, dtype=torch.float32, channels=channels)
            loss = create(name)
            there = loss.cuda()(prediction.cuda(), target.cuda(), mask.cuda())
            torch.testing.assert_close(
                there.cpu(), loss.cpu()(prediction, target, mask), rtol=1e-4, atol=1e-5
            )
