"""EigenvalueLoss against LAPACK's eigenvalues, and where they coincide."""

import math

import pytest
import torch

from napari_segtrain.losses import create

NDIM = pytest.mark.parametrize("ndim", [2, 3])
close = torch.testing.assert_close


def matrices(tensors):
    """``(B, C, *spatial)`` upper triangles as ``(B, *spatial, ndim, ndim)``."""
    order = {3: [[0, 1], [1, 2]], 6: [[0, 1, 2], [1, 3, 4], [2, 4, 5]]}[tensors.shape[1]]
    return tensors.movedim(1, -1)[..., torch.tensor(order)]


def upper(matrix, ndim):
    """A matrix as a ``(1, C, 1, 1, …)`` tensor."""
    rows, columns = torch.triu_indices(ndim, ndim)
    return matrix[rows, columns].reshape(1, -1, *(1,) * ndim)


def by_lapack(prediction, target, mask):
    errors = torch.linalg.eigvalsh(matrices(prediction)) - torch.linalg.eigvalsh(matrices(target))
    return (errors**2)[mask[:, 0]].mean()


@NDIM
@pytest.mark.parametrize("masked", [True, False])
def test_value_and_gradient_are_those_of_the_eigenvalues(sample, ndim, masked):
    prediction, target, mask = sample("structure_tensor", ndim)
    mask = mask if masked else torch.ones_like(mask)
    value, expected = create("EigenvalueLoss")(prediction, target, mask), by_lapack(prediction, target, mask)
    close(value, expected)
    close(torch.autograd.grad(value, prediction), torch.autograd.grad(expected, prediction))


@NDIM
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3])
def test_float32_is_enough_for_tensors_of_any_size(sample, ndim, size):
    prediction, target, mask = sample("structure_tensor", ndim)
    prediction, target = prediction.detach() * size, target * size
    value = create("EigenvalueLoss")(prediction.float(), target.float(), mask)
    close(value.double(), by_lapack(prediction, target, mask), rtol=1e-5, atol=0)


@NDIM
def test_a_turned_tensor_costs_nothing(ndim):
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        matrix = torch.randn(ndim, ndim, generator=generator, dtype=torch.float64)
        turn, _ = torch.linalg.qr(torch.randn(ndim, ndim, generator=generator, dtype=torch.float64))
        first, second = upper(matrix + matrix.T, ndim), upper(turn @ (matrix + matrix.T) @ turn.T, ndim)
        mask = torch.ones_like(first[:, :1], dtype=torch.bool)
        assert create("EigenvalueLoss")(first, second, mask) == pytest.approx(0, abs=1e-12)
        assert create("EigenvalueLoss")(first, 2 * second, mask) > 0.1


EQUAL = {
    2: [(0, 0), (1, 1), (-3, -3)],
    3: [(0, 0, 0), (2, 2, 2), (1, 1, 5), (1, 5, 5), (0, 0, 1), (-1, 0, 0)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("values", EQUAL[2] + EQUAL[3], ids=str)
def test_equal_eigenvalues_have_a_right_value_and_a_bounded_gradient(values, dtype):
    ndim = len(values)
    generator = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(ndim, ndim, generator=generator, dtype=torch.float64))
    for rotation in (torch.eye(ndim, dtype=torch.float64), turn):
        matrix = rotation @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ rotation.T
        tensor = upper(matrix, ndim).to(dtype).requires_grad_()
        truth = upper(torch.diag(torch.arange(1.0, ndim + 1)), ndim).to(dtype)
        value = create("EigenvalueLoss")(tensor, truth, torch.ones_like(truth[:, :1], dtype=torch.bool))
        expected = sum((a - b) ** 2 for a, b in zip(values, range(1, ndim + 1), strict=True)) / ndim
        assert value.item() == pytest.approx(expected, rel=2e-3 if dtype == torch.float32 else 1e-6)
        value.backward()
        # The gradient of every eigenvalue's square is at most 2 |error|, and the components off the
        # diagonal count twice.
        bound = 2 * math.sqrt(2 * ndim * expected) + 1e-6
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.norm() <= bound


def test_descent_leads_away_from_nearly_equal_eigenvalues():
    noise = 1e-3 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    truth = upper(torch.diag(torch.tensor([1.0, 2.0, 4.0])), 3)
    tensor = upper(torch.eye(3) + noise + noise.T, 3).requires_grad_()
    mask = torch.ones_like(truth[:, :1], dtype=torch.bool)
    optimizer = torch.optim.SGD([tensor], 0.2)
    for _ in range(200):
        optimizer.zero_grad()
        create("EigenvalueLoss")(tensor, truth, mask).backward()
        optimizer.step()
    values = torch.linalg.eigvalsh(matrices(tensor.detach()))[0].flatten()
    close(values, torch.tensor([1.0, 2.0, 4.0]), atol=1e-2, rtol=0)


def test_channels_that_are_no_tensor_are_refused(sample):
    prediction, target, mask = sample("regression", 3, channels=3)
    with pytest.raises(ValueError, match="needed are 6: the upper triangle"):
        create("EigenvalueLoss")(prediction, target, mask)
