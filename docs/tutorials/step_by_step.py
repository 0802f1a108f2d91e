"""Training in seven steps, on the coins that come with the program; the same weights as `train`."""

import sys
import tempfile

import torch

from napari_segtrain import train
from napari_segtrain.data.samples import coins
from napari_segtrain.runs import load_checkpoint
from napari_segtrain.training.steps import (
    backward_pass,
    calculate_loss,
    forward_pass,
    optimizer_step,
    prepare_batch,
    take_apart,
    zero_gradients,
)

sample = coins()
data = {"layers": [{"id": "coins", "image": sample.image, "labels": sample.labels}]}
experiment = {
    "tr_setup": {"device": "cpu", "compile": "off"},
    "tr_config": {
        "patch_size": [64, 64],
        "batch_size": 4,
        "num_epochs": 2,
        "steps_per_epoch": 5,
        "gradient_clip": 3.0,
    },
    "model_config": {"base_features": 8, "max_poolings": 3},
    "dataset_config": {"targets": {"foreground": {"kind": "binary", "unlabelled": 0}}},
}

parts = take_apart(experiment, data)  # the model is defined: network, loss and batches of the experiment
step = parts.initialize_optimizer()  # 1
for epoch in range(parts.epochs):
    parts.loader.set_epoch(epoch)
    for index in range(len(parts.loader)):
        batch = prepare_batch(parts.loader, index, parts.device)  # 2
        step = zero_gradients(step)  # 3
        prediction = forward_pass(step.network, batch, parts.precision)  # 4
        loss = calculate_loss(prediction, batch, parts.loss, epoch)  # 5
        gradients = backward_pass(step, loss)  # 6
        step, info = optimizer_step(step, gradients, gradient_clip=parts.gradient_clip)  # 7
        print(
            f"epoch {epoch + 1}, batch {index}: loss {loss.value:.3f}, gradient norm {info.norm_before:.2f} "
            f"clipped to {info.norm_after:.2f}, learning rate {info.learning_rate:.5f}"
        )

with tempfile.TemporaryDirectory() as project:
    run = train(experiment, data, project)
    trained = load_checkpoint(run.path / "checkpoints" / "last.ckpt")["model"]
by_hand = step.network.state_dict()
same = all(torch.equal(by_hand[name], trained[name]) for name in trained)
print(f"train() took {step.step} such steps: {'the same weights' if same else 'OTHER WEIGHTS'}")
if not same:
    sys.exit(1)
