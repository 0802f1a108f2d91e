"""Milliseconds that a loss and its gradient take, of a small U-Net's step and of the plain formula in torch.

python benchmarks/losses.py [rounds]      # 5

Ratios are ours / plain. Plain errors of single voxels are multiplied with the mask; the other plain formulas
look at every voxel.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from napari_segtrain.config import NetworkConfig
from napari_segtrain.losses import ENCODINGS, LOSSES, create
from napari_segtrain.network import build_network, make_plan


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) * 1000)
    return statistics.median(taken)


def network_step(batch: int, shape: tuple[int, ...]) -> Callable[[], object]:
    """Return forward and backward of the 16-feature network with one head."""

    class Head:
        name, decoder, out_channels = "t", "t", 1

    plan = make_plan(
        NetworkConfig(base_features=16),
        ndim=len(shape),
        in_channels=1,
        patch_size=shape,
        spacing=(1.0,) * len(shape),
        shape=shape,
        heads=[Head()],
    )
    network = build_network(plan).train()
    image = torch.randn(batch, 1, *shape)
    return lambda: network(image)["t"].sum().backward()


Plain = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain_dice(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    chance, truth = torch.sigmoid(prediction) * known, target * known
    return 1 - (2 * (chance * truth).sum() + 1) / (chance.sum() + truth.sum() + 1)


def masked(errors: Callable[..., Tensor]) -> Plain:
    return lambda p, g, known: (errors(p, g, reduction="none") * known).sum() / known.sum()


def cosine(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    return functional.cosine_similarity(prediction, target)


def plain_cross_entropy(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    return (
        functional.cross_entropy(prediction, target[:, 0], reduction="none") * known[:, 0]
    ).sum() / known.sum()


plain_bce = masked(functional.binary_cross_entropy_with_logits)


def plain_skeleton(image: Tensor, iterations: int) -> Tensor:
    """The soft skeleton as its paper has it, by pooling."""
    ndim = image.dim() - 2
    pool = functional.max_pool2d if ndim == 2 else functional.max_pool3d

    def erode(x: Tensor) -> Tensor:
        lines = [[3 if a == axis else 1 for a in range(ndim)] for axis in range(ndim)]
        lowest = [-pool(-x, line, 1, [n // 2 for n in line]) for line in lines]
        return torch.minimum(lowest[0], lowest[1] if ndim == 2 else torch.minimum(lowest[1], lowest[2]))

    def opened(x: Tensor) -> Tensor:
        return pool(erode(x), 3, 1, 1)

    skeleton = torch.relu(image - opened(image))
    for _ in range(iterations):
        image = erode(image)
        delta = torch.relu(image - opened(image))
        skeleton = skeleton + torch.relu(delta - skeleton * delta)
    return skeleton


def plain_cldice(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    chance = torch.sigmoid(prediction)
    own, true = plain_skeleton(chance, 5), plain_skeleton(target, 5)
    precision = ((own * target).sum() + 1) / (own.sum() + 1)
    recall = ((true * chance).sum() + 1) / (true.sum() + 1)
    return 1 - 2 * precision * recall / (precision + recall)


def plain_smoothness(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    own = functional.normalize(prediction, dim=1)
    place = torch.arange(-8.0, 9.0)
    kernel = torch.exp(-0.5 * (place / 2.0) ** 2)
    ndim = own.dim() - 2
    conv = functional.conv2d if ndim == 2 else functional.conv3d
    mean = own.flatten(0, 1).unsqueeze(1)
    for axis in range(ndim):
        shape = [17 if a == axis else 1 for a in range(ndim)]
        mean = conv(mean, kernel.reshape(1, 1, *shape), padding=[n // 2 for n in shape])
    mean = functional.normalize(mean.reshape(own.shape), dim=1)
    return ((1 - (own * mean).sum(1)) ** 2).mean()


def plain_eigenvalues(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    order = {3: [[0, 1], [1, 2]], 6: [[0, 1, 2], [1, 3, 4], [2, 4, 5]]}[prediction.shape[1]]
    first, second = (torch.linalg.eigvalsh(x.movedim(1, -1)[..., order]) for x in (prediction, target))
    return ((first - second) ** 2).mean()


def plain_distance(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    slopes = torch.gradient(prediction, dim=tuple(range(2, prediction.dim())))
    length = torch.stack(slopes).square().sum(0).add(1e-12).sqrt()
    return functional.smooth_l1_loss(prediction, target) + 0.1 * ((length - 1) ** 2).mean()


PLAIN: dict[str, Plain] = {
    "SoftDiceLoss": plain_dice,
    "BCEWithLogitsLoss": plain_bce,
    "BCEDiceLoss": lambda p, g, m: plain_bce(p, g, m) + plain_dice(p, g, m),
    "CrossEntropyLoss": plain_cross_entropy,
    "clDice": plain_cldice,
    "MSELoss": masked(functional.mse_loss),
    "L1Loss": masked(functional.l1_loss),
    "SmoothL1Loss": masked(functional.smooth_l1_loss),
    "CosineSimilarityLoss": lambda p, g, m: 1 - cosine(p, g, m).mean(),
    "SignInvariantCosineLoss": lambda p, g, m: 1 - cosine(p, g, m).abs().mean(),
    "NormalSmoothnessLoss": plain_smoothness,
    "SignedDistanceLoss": plain_distance,
    "EigenvalueLoss": plain_eigenvalues,
}


def loss_steps(
    name: str, batch: int, shape: tuple[int, ...]
) -> tuple[str, Callable[[], object], Callable[[], object] | None]:
    """Return what the loss compares, and one evaluation with its gradient: ours and the plain formula's."""
    spec = LOSSES[name]
    encoding = next((e for e in spec.encodings if e != "regression"), "regression")
    known = ENCODINGS[encoding]
    channels = known.channels(len(shape)) if known.channels else max(1, spec.channels(len(shape))[0])
    channels = 4 if encoding == "classes" else channels
    prediction = torch.randn(batch, channels, *shape, requires_grad=True)
    target = torch.rand(batch, channels, *shape).round()
    if encoding == "classes":
        target = torch.randint(0, channels, (batch, 1, *shape))
    mask = torch.rand(batch, 1, *shape) > 0.1
    loss = create(name, **({"eikonal": True} if name == "SignedDistanceLoss" else {}))
    plain = PLAIN.get(name)
    return (
        f"{encoding}, {channels}",
        lambda: loss(prediction, target, mask).backward(),
        (lambda: plain(prediction, target, mask.float()).backward()) if plain else None,
    )


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    for batch, shape in [(1, (64, 64, 64)), (4, (256, 256))]:
        network = milliseconds(network_step(batch, shape), max(rounds // 2, 1))
        print(
            f"{batch} × {'×'.join(map(str, shape))}: forward and backward of the network {network:.0f} cpu ms"
        )
        print(
            f"  {'loss':24}{'encoding, channels':>24}{'ms':>8}{'of a step':>11}{'plain ms':>10}{'ratio':>7}"
        )
        for name in LOSSES:
            what, work, plain = loss_steps(name, batch, shape)
            taken = milliseconds(work, rounds)
            line = f"  {name:24}{what:>24}{taken:8.1f}{100 * taken / network:9.2f} %"
            if plain:
                other = milliseconds(plain, rounds)
                line += f"{other:10.1f}{taken / other:7.2f}"
            print(line)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
