"""Graphs to begin with."""

from __future__ import annotations

from napari_segtrain.config import did_you_mean

from .arrange import arrange
from .graph import Graph
from .ports import GraphError

_LINKS = {
    "train": """
        data_loader.train_loader trainer.dataloader
        unet_model.model         trainer.model
        loss_function.loss_fn    trainer.loss_fn
        unet_model.model         optimizer.model
        optimizer.optimizer      trainer.optimizer
    """,
    "fine_tune": """
        data_loader.train_loader trainer.dataloader
        checkpoint_loader.model  trainer.model
        loss_function.loss_fn    trainer.loss_fn
        checkpoint_loader.model  optimizer.model
        optimizer.optimizer      trainer.optimizer
    """,
    "predict": """
        checkpoint_loader.model predictor.model
        image_layer.image       predictor.image
    """,
    "evaluate": """
        checkpoint_loader.model   predictor.model
        data_loader.val_loader    predictor.dataloader
        predictor.all_predictions metrics.predictions
        predictor.all_labels      metrics.labels
    """,
    "direct": """
        image_layer.image checkpoint_loader.input
    """,
    "stepwise": """
        unet_model.model               initialize_optimizer.model
        data_loader.train_loader       prepare_batch.dataloader
        initialize_optimizer.optimizer zero_gradients.optimizer
        unet_model.model               forward_pass.model
        prepare_batch.batch            forward_pass.batch
        forward_pass.prediction        calculate_loss.prediction
        prepare_batch.batch            calculate_loss.batch
        loss_function.loss_fn          calculate_loss.loss_fn
        zero_gradients.optimizer       backward_pass.optimizer
        calculate_loss.loss            backward_pass.loss
        zero_gradients.optimizer       optimizer_step.optimizer
        backward_pass.gradients        optimizer_step.gradients
        optimizer_step.step_info       repeat.step
    """,
}

TEMPLATES = {
    "train": "Train a network on labelled images.",
    "fine_tune": "Train on other images, from the weights of a trained network.",
    "predict": "Predict an image with a trained network, tile by tile.",
    "evaluate": "Score a trained network on the images that validate.",
    "direct": "Predict an image at the input of a network itself.",
    "stepwise": "Train step by step: the seven steps, repeated.",
}
"""A sentence on each by its name; ``examples/workflows`` has each as a file."""


def template(name: str) -> Graph:
    """Return a graph to begin with.

    Raises
    ------
    GraphError
        When there is none of this name.
    """
    if name not in _LINKS:
        raise GraphError(f"template {name!r} is unknown. {did_you_mean(name, _LINKS)}")
    graph = Graph()
    for line in _LINKS[name].split("\n"):
        for end in line.split():
            node = end.partition(".")[0]
            if not graph.has(node):
                graph = graph.add(graph.new_node(node))
    for line in _LINKS[name].strip().split("\n"):
        graph = graph.connect(*line.replace(".", " ").split())
    return graph.move(arrange(graph))
