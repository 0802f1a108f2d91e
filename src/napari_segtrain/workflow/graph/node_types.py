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
from .ports import GraphError, Kind, Port, PortType, Use

_WORK = "napari_segtrain.workflow.graph.work"
_TYPES = {
    Kind.PICTURE: PortType.TENSOR,
    Kind.PREDICTED: PortType.TENSOR,
    Kind.LABELLED: PortType.TENSOR,
    Kind.PREDICTION: PortType.TENSOR,
    Kind.GRADIENTS: PortType.TENSOR,
    Kind.NETWORK: PortType.MODEL,
    Kind.TRAINING: PortType.BATCH,
    Kind.VALIDATION: PortType.BATCH,
    Kind.TEST: PortType.BATCH,
    Kind.BATCH: PortType.BATCH,
    Kind.LOSS_FN: PortType.LOSS,
    Kind.LOSS: PortType.LOSS,
    Kind.OPTIMIZER: PortType.OPTIMIZER,
    Kind.NUMBERS: PortType.METRICS,
}


def _port(
    name: str,
    kinds: Kind | tuple[Kind, ...],
    text: str,
    use: Use = "both",
    *,
    required: bool = False,
    follows: str = "",
) -> Port:
    kinds = (kinds,) if isinstance(kinds, Kind) else kinds
    kind = _TYPES[kinds[0]] if kinds else PortType.ANY
    return Port(name=name, type=kind, required=required, text=text, use=use, kinds=kinds, follows=follows)


def _needs(name: str, kinds: Kind | tuple[Kind, ...], text: str, use: Use = "both") -> Port:
    return _port(name, kinds, text, use, required=True)


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


_LOADER = (Kind.TRAINING, Kind.VALIDATION, Kind.TEST)
_ANYTHING = ()

_NETWORK_INPUT = _port(
    "input", Kind.PICTURE, "An image to predict at once; training leaves it open.", "inference"
)
_NETWORK_OUTPUTS = (
    _port(
        "output", Kind.PREDICTED, "The predictions of all images at the input.", "inference", follows="input"
    ),
    _port("model", Kind.NETWORK, "The network itself, to be trained or to predict with."),
)

_DATA = (
    _node(
        "data_loader",
        "data",
        "Images and labels of a folder, or of open layers, in batches of patches.",
        DataLoaderParameters,
        "data:load_data",
        outputs=(
            _port(
                "train_loader", Kind.TRAINING, "Augmented patches of the part that is trained on.", "training"
            ),
            _port("val_loader", Kind.VALIDATION, "Patches of the part that validates.", "inference"),
            _port("test_loader", Kind.TEST, "Patches of the part that is held out.", "inference"),
        ),
    ),
    _node(
        "image_layer",
        "data",
        "An image of the viewer, or of a file.",
        ImageLayerParameters,
        "data:load_image",
        outputs=(_port("image", Kind.PICTURE, "The image.", "inference"),),
    ),
)
_NETWORKS = (
    _node(
        "unet_model",
        "network",
        "A residual-encoder U-Net, planned for the data.",
        UNetParameters,
        "network:planned",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
        "UNet",
    ),
    _node(
        "vnet_model",
        "network",
        "A V-Net: convolutions of 5 with residual stages, planned for the data.",
        VNetParameters,
        "network:planned",
        (_NETWORK_INPUT,),
        _NETWORK_OUTPUTS,
        "VNet",
    ),
    _node(
        "network_from_config",
        "network",
        "The network that the configuration file of an experiment describes.",
        NetworkFileParameters,
        "network:planned",
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
        outputs=(_port("loss_fn", Kind.LOSS_FN, "The loss function.", "training"),),
    ),
    _node(
        "optimizer",
        "training",
        "What changes the weights, and how its learning rate goes.",
        OptimizerParameters,
        "training:optimizer",
        (_needs("model", Kind.NETWORK, "The network whose weights change.", "training"),),
        (_port("optimizer", Kind.OPTIMIZER, "The optimizer, with its schedule.", "training"),),
    ),
    _node(
        "trainer",
        "training",
        "Trains to a finished run, as segtrain train does.",
        TrainerParameters,
        "training:trainer",
        (
            _needs(
                "dataloader",
                Kind.TRAINING,
                "Batches to train on; their data's own val part validates.",
                "training",
            ),
            _needs("model", Kind.NETWORK, "The network to train.", "training"),
            _needs("loss_fn", Kind.LOSS_FN, "What is minimised.", "training"),
            _needs("optimizer", Kind.OPTIMIZER, "What changes the weights.", "training"),
        ),
        (
            _port("model", Kind.NETWORK, "The network with the best weights of the run."),
            _port("metrics", Kind.NUMBERS, "Losses and scores of each epoch."),
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
            _needs("model", Kind.NETWORK, "A trained network.", "inference"),
            _port("image", Kind.PICTURE, "An image to predict.", "inference"),
            _port("dataloader", _LOADER, "A loader whose images are predicted.", "inference"),
        ),
        (
            _port(
                "predictions",
                Kind.PREDICTED,
                "The prediction of the image, or of the first of several.",
                "inference",
            ),
            _port("all_predictions", Kind.PREDICTED, "The predictions of all images.", "inference"),
            _port(
                "all_labels",
                Kind.LABELLED,
                "The labels of all images, where the loader has them.",
                "inference",
                follows="dataloader",
            ),
        ),
    ),
    _node(
        "metrics",
        "inference",
        "Compares predictions with labels.",
        NoParameters,
        "inference:metrics",
        (
            _needs("predictions", Kind.PREDICTED, "What was predicted.", "inference"),
            _needs("labels", Kind.LABELLED, "What is true.", "inference"),
        ),
        (_port("metrics", Kind.NUMBERS, "Scores by target.", "inference"),),
    ),
)
_STEPS = (
    _node(
        "initialize_optimizer",
        "steps",
        "Step 1: makes what will change the network's weights.",
        InitializeParameters,
        "steps:initialize_optimizer",
        (_needs("model", Kind.NETWORK, "The network to train.", "training"),),
        (_port("optimizer", Kind.OPTIMIZER, "The optimizer.", "training"),),
    ),
    _node(
        "prepare_batch",
        "steps",
        "Step 2: brings one batch to the device.",
        BatchParameters,
        "steps:prepare_batch",
        (_needs("dataloader", _LOADER, "Where batches come from.", "training"),),
        (_port("batch", Kind.BATCH, "One batch.", "training"),),
    ),
    _node(
        "zero_gradients",
        "steps",
        "Step 3: forgets the gradients of earlier batches.",
        NoParameters,
        "steps:zero_gradients",
        (_needs("optimizer", Kind.OPTIMIZER, "The optimizer.", "training"),),
        (_port("optimizer", Kind.OPTIMIZER, "The optimizer, without gradients.", "training"),),
    ),
    _node(
        "forward_pass",
        "steps",
        "Step 4: lets the network predict the batch.",
        NoParameters,
        "steps:forward_pass",
        (
            _needs("model", Kind.NETWORK, "The network.", "training"),
            _needs("batch", Kind.BATCH, "The batch.", "training"),
        ),
        (_port("prediction", Kind.PREDICTION, "Raw outputs of the network."),),
    ),
    _node(
        "calculate_loss",
        "steps",
        "Step 5: measures how wrong the prediction is.",
        NoParameters,
        "steps:calculate_loss",
        (
            _needs("prediction", Kind.PREDICTION, "What was predicted.", "training"),
            _needs("batch", Kind.BATCH, "The batch that was predicted.", "training"),
            _needs("loss_fn", Kind.LOSS_FN, "How it is measured.", "training"),
        ),
        (_port("loss", Kind.LOSS, "The value of the loss.", "training"),),
    ),
    _node(
        "backward_pass",
        "steps",
        "Step 6: computes the gradient of the loss for every weight.",
        BackwardParameters,
        "steps:backward_pass",
        (
            _needs("optimizer", Kind.OPTIMIZER, "The optimizer, without gradients.", "training"),
            _needs("loss", Kind.LOSS, "The value of the loss.", "training"),
        ),
        (_port("gradients", Kind.GRADIENTS, "The gradients.", "training"),),
    ),
    _node(
        "optimizer_step",
        "steps",
        "Step 7: changes the weights.",
        StepParameters,
        "steps:optimizer_step",
        (
            _needs("optimizer", Kind.OPTIMIZER, "The optimizer.", "training"),
            _needs("gradients", Kind.GRADIENTS, "The gradients.", "training"),
        ),
        (
            _port("optimizer", Kind.OPTIMIZER, "The optimizer after the step.", "training"),
            _port(
                "step_info",
                Kind.NUMBERS,
                "Learning rate, norm of the gradient, number of the step.",
                "training",
            ),
            _port("model", Kind.NETWORK, "The network after the step."),
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
        (_needs("step", _ANYTHING, "What the last of the steps gives.", "training"),),
        (
            _port("last", _ANYTHING, "What it gave in the last round.", follows="step"),
            _port("history", Kind.NUMBERS, "Loss, learning rate and norm of the gradient of each round."),
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
