"""The table of node types. Reading it loads neither torch nor napari: work is named, not imported."""

from __future__ import annotations

from collections.abc import Iterable

from napari_segtrain.config import did_you_mean

from .node_type import Category, NodeType
from .parameters import (
    BackwardParameters,
    BatchParameters,
    CheckpointParameters,
    DataLoaderParameters,
    ImageLayerParameters,
    InitializeParameters,
    LossParameters,
    NetworkFileParameters,
    NoParameters,
    OptimizerParameters,
    Parameters,
    PredictorParameters,
    RepeatParameters,
    StepParameters,
    TrainerParameters,
    UNetParameters,
    VNetParameters,
)
from .ports import GraphError, Port, PortType, Use

_WORK = "napari_segtrain.workflow.graph.work"


def _needs(name: str, kind: PortType, text: str, use: Use = "both") -> Port:
    return Port(name=name, type=kind, required=True, text=text, use=use)


def _port(name: str, kind: PortType, text: str, use: Use = "both") -> Port:
    return Port(name=name, type=kind, text=text, use=use)


def _node(
    name: str,
    category: Category,
    text: str,
    config: type[Parameters],
    work: str,
    inputs: Iterable[Port] = (),
    outputs: Iterable[Port] = (),
    title: str = "",
) -> NodeType:
    title = title or name.replace("_", " ").capitalize()
    return NodeType(name, title, text, category, tuple(inputs), tuple(outputs), config, f"{_WORK}.{work}")


_T, _M, _B, _L, _O = PortType.TENSOR, PortType.MODEL, PortType.BATCH, PortType.LOSS, PortType.OPTIMIZER
_SCORES, _ANY = PortType.METRICS, PortType.ANY

_NETWORK_INPUT = _port("input", _T, "An image to predict at once; training leaves it open.", "inference")
_NETWORK_OUTPUTS = (
    _port("output", _T, "The prediction of what is at the input.", "inference"),
    _port("model", _M, "The network itself, to be trained or to predict with."),
)

_DATA = (
    _node(
        "data_loader",
        "data",
        "Images and labels of a folder, in batches of patches.",
        DataLoaderParameters,
        "data:load_data",
        outputs=(
            _port("train_loader", _B, "Augmented patches of the part that is trained on.", "training"),
            _port("val_loader", _B, "Patches of the part that validates.", "inference"),
            _port("test_loader", _B, "Patches of the part that is held out.", "inference"),
        ),
    ),
    _node(
        "image_layer",
        "data",
        "An image of the viewer, or of a file.",
        ImageLayerParameters,
        "data:load_image",
        outputs=(_port("image", _T, "The image.", "inference"),),
    ),
)
_NETWORKS = (
    _node(
        "unet_model",
        "network",
        "A residual-encoder U-Net, planned for the data.",
        UNetParameters,
        "network:unet",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
        "UNet",
    ),
    _node(
        "vnet_model",
        "network",
        "A V-Net: convolutions of 5 with residual stages, planned for the data.",
        VNetParameters,
        "network:vnet",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
        "VNet",
    ),
    _node(
        "network_from_config",
        "network",
        "The network that the configuration file of an experiment describes.",
        NetworkFileParameters,
        "network:from_config",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
        "Network from config",
    ),
    _node(
        "checkpoint_loader",
        "network",
        "A network that was trained before.",
        CheckpointParameters,
        "network:from_checkpoint",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
    ),
)
_TRAINING = (
    _node(
        "loss_function",
        "training",
        "What is minimised.",
        LossParameters,
        "training:loss_function",
        outputs=(_port("loss_fn", _L, "The loss function.", "training"),),
    ),
    _node(
        "optimizer",
        "training",
        "What changes the weights, and how its learning rate goes.",
        OptimizerParameters,
        "training:optimizer",
        (_needs("model", _M, "The network whose weights change.", "training"),),
        (_port("optimizer", _O, "The optimizer, with its schedule.", "training"),),
    ),
    _node(
        "trainer",
        "training",
        "Trains to a finished run, as segtrain train does.",
        TrainerParameters,
        "training:trainer",
        (
            _needs("dataloader", _B, "Batches to train on; their data's own val part validates.", "training"),
            _needs("model", _M, "The network to train.", "training"),
            _needs("loss_fn", _L, "What is minimised.", "training"),
            _needs("optimizer", _O, "What changes the weights.", "training"),
        ),
        (
            _port("model", _M, "The network with the best weights of the run."),
            _port("metrics", _SCORES, "Losses and scores of each epoch."),
        ),
    ),
)
_INFERENCE = (
    _node(
        "predictor",
        "inference",
        "Predicts an image, or all images of a loader, tile by tile.",
        PredictorParameters,
        "inference:predictor",
        (
            _needs("model", _M, "A trained network.", "inference"),
            _port("image", _T, "An image to predict.", "inference"),
            _port("dataloader", _B, "A loader whose images are predicted.", "inference"),
        ),
        (
            _port(
                "predictions", _T, "The prediction of the image, or of the loader's first one.", "inference"
            ),
            _port("all_predictions", _T, "The predictions of all images.", "inference"),
            _port("all_labels", _T, "The labels of all images, where the loader has them.", "inference"),
        ),
    ),
    _node(
        "metrics",
        "inference",
        "Compares predictions with labels.",
        NoParameters,
        "inference:metrics",
        (
            _needs("predictions", _T, "What was predicted.", "inference"),
            _needs("labels", _T, "What is true.", "inference"),
        ),
        (_port("metrics", _SCORES, "Scores by target.", "inference"),),
    ),
)
_STEPS = (
    _node(
        "initialize_optimizer",
        "steps",
        "Step 1: makes what will change the network's weights.",
        InitializeParameters,
        "steps:initialize_optimizer",
        (_needs("model", _M, "The network to train.", "training"),),
        (_port("optimizer", _O, "The optimizer.", "training"),),
    ),
    _node(
        "prepare_batch",
        "steps",
        "Step 2: brings one batch to the device.",
        BatchParameters,
        "steps:prepare_batch",
        (_needs("dataloader", _B, "Where batches come from.", "training"),),
        (_port("batch", _B, "One batch.", "training"),),
    ),
    _node(
        "zero_gradients",
        "steps",
        "Step 3: forgets the gradients of earlier batches.",
        NoParameters,
        "steps:zero_gradients",
        (_needs("optimizer", _O, "The optimizer.", "training"),),
        (_port("optimizer", _O, "The optimizer, without gradients.", "training"),),
    ),
    _node(
        "forward_pass",
        "steps",
        "Step 4: lets the network predict the batch.",
        NoParameters,
        "steps:forward_pass",
        (
            _needs("model", _M, "The network.", "training"),
            _needs("batch", _B, "The batch.", "training"),
        ),
        (_port("prediction", _T, "Raw outputs of the network."),),
    ),
    _node(
        "calculate_loss",
        "steps",
        "Step 5: measures how wrong the prediction is.",
        NoParameters,
        "steps:calculate_loss",
        (
            _needs("prediction", _T, "What was predicted.", "training"),
            _needs("batch", _B, "The batch that was predicted.", "training"),
            _needs("loss_fn", _L, "How it is measured.", "training"),
        ),
        (_port("loss", _L, "The value of the loss.", "training"),),
    ),
    _node(
        "backward_pass",
        "steps",
        "Step 6: computes the gradient of the loss for every weight.",
        BackwardParameters,
        "steps:backward_pass",
        (
            _needs("optimizer", _O, "The optimizer, without gradients.", "training"),
            _needs("loss", _L, "The value of the loss.", "training"),
        ),
        (_port("gradients", _T, "The gradients.", "training"),),
    ),
    _node(
        "optimizer_step",
        "steps",
        "Step 7: changes the weights.",
        StepParameters,
        "steps:optimizer_step",
        (
            _needs("optimizer", _O, "The optimizer.", "training"),
            _needs("gradients", _T, "The gradients.", "training"),
        ),
        (
            _port("optimizer", _O, "The optimizer after the step.", "training"),
            _port(
                "step_info", _SCORES, "Learning rate, norm of the gradient, number of the step.", "training"
            ),
            _port("model", _M, "The network after the step."),
        ),
    ),
)
_CONTROL = (
    _node(
        "repeat",
        "control",
        "Takes the steps that a node depends on again and again, with the next batch each time.",
        RepeatParameters,
        "control:repeat",
        (_needs("step", _ANY, "What the last of the steps gives.", "training"),),
        (
            _port("last", _ANY, "What it gave in the last round."),
            _port("history", _SCORES, "Loss, learning rate and norm of the gradient of each round."),
        ),
    ),
)

NODE_TYPES: dict[str, NodeType] = {
    kind.name: kind for kind in (*_DATA, *_NETWORKS, *_TRAINING, *_INFERENCE, *_STEPS, *_CONTROL)
}
"""Every kind of node by its name, in the order they are offered."""


def node_type(name: str) -> NodeType:
    """Return a kind of node by its name.

    Raises
    ------
    GraphError
        When there is none; the message names the nearest ones.
    """
    if name not in NODE_TYPES:
        raise GraphError(f"node type {name!r} is unknown. {did_you_mean(name, NODE_TYPES)}")
    return NODE_TYPES[name]
