"""What a whole graph lacks (rows G3 and G6): required inputs, doubts, checklists, troubleshooting."""

import pytest

from napari_segtrain.workflow.graph import (
    NODE_TYPES,
    Graph,
    GraphError,
    checklist,
    find_faults,
    find_warnings,
    purpose_of,
    refuse_faults,
)
from napari_segtrain.workflow.graph.execution import execute

REQUIRED = [(kind.name, port.name) for kind in NODE_TYPES.values() for port in kind.inputs if port.required]


@pytest.mark.parametrize(("kind", "port"), REQUIRED)
def test_an_open_required_input_is_a_fault(make, kind, port):
    assert f"Required input '{port}' on node 'n' is not connected" in find_faults(make([f"n:{kind}"]))


@pytest.mark.parametrize("kind", ["unet_model", "vnet_model", "network_from_config", "checkpoint_loader"])
def test_a_networks_input_is_optional(make, kind):
    assert find_faults(make([kind])) == ()


def test_the_five_links_are_a_whole_training_graph(training_graph, five_links):
    assert find_faults(training_graph) == ()
    refuse_faults(training_graph)
    assert find_warnings(training_graph) == (
        "Parameter 'data' on node 'data_loader' is not set: give a folder with images/ and labels/, or open "
        "layers",
    )
    for link in five_links:
        missing = f"Required input '{link[3]}' on node '{link[2]}' is not connected"
        assert find_faults(training_graph.disconnect(*link)) == (missing,)


def test_all_faults_are_listed(training_nodes):
    with pytest.raises(GraphError) as refused:
        refuse_faults(training_nodes, "train.json")
    assert str(refused.value) == (
        "train.json: 5 faults\n"
        "- Required input 'model' on node 'optimizer' is not connected\n"
        "- Required input 'dataloader' on node 'trainer' is not connected\n"
        "- Required input 'model' on node 'trainer' is not connected\n"
        "- Required input 'loss_fn' on node 'trainer' is not connected\n"
        "- Required input 'optimizer' on node 'trainer' is not connected"
    )
    with pytest.raises(GraphError, match=r"^The graph is empty: add a node, or open a template$"):
        refuse_faults(Graph())


TROUBLES = {
    "predictor without an image": (
        ["checkpoint_loader", "predictor"],
        ["checkpoint_loader.model predictor.model"],
        "Required input 'image' or 'dataloader' on node 'predictor' is not connected",
    ),
    "optimizer of another network": (
        ["data_loader", "unet_model", "vnet_model", "loss_function", "optimizer", "trainer"],
        [
            "unet_model.model trainer.model",
            "vnet_model.model optimizer.model",
            "optimizer.optimizer trainer.optimizer",
        ],
        "Node 'trainer' trains 'unet_model', but its optimizer changes the weights of 'vnet_model': connect "
        "the same network to both",
    ),
    "network input wired in training": (
        ["image_layer", "unet_model", "trainer"],
        ["image_layer.image unet_model.input", "unet_model.model trainer.model"],
        "Input 'input' on node 'unet_model' is wired in a training graph: the trainer feeds the network from "
        "its dataloader; the input is for inference",
    ),
    "network input wired in stepping": (
        ["image_layer", "unet_model", "forward_pass"],
        ["image_layer.image unet_model.input", "unet_model.model forward_pass.model"],
        "Input 'input' on node 'unet_model' is wired in a training graph: the trainer feeds the network from "
        "its dataloader; the input is for inference",
    ),
    "untrained network into a predictor": (
        ["unet_model", "predictor"],
        ["unet_model.model predictor.model"],
        "Predictor 'predictor' gets the untrained network 'unet_model': connect the model of a trainer or of "
        "a checkpoint loader, or set its weights",
    ),
    "untrained network predicts by itself": (
        ["image_layer", "unet_model"],
        ["image_layer.image unet_model.input"],
        "The network 'unet_model' predicts with untrained weights: connect the model of a trainer or of "
        "a checkpoint loader, or set its weights",
    ),
    "held-out data trained on": (
        ["data_loader", "trainer"],
        ["data_loader.test_loader trainer.dataloader"],
        "Output 'test_loader' on node 'data_loader' is for inference, but input 'dataloader' on node "
        "'trainer' is for training",
    ),
    "training data predicted": (
        ["data_loader", "predictor"],
        ["data_loader.train_loader predictor.dataloader"],
        "Output 'train_loader' on node 'data_loader' is for training, but input 'dataloader' on node "
        "'predictor' is for inference",
    ),
    "no trainer": (
        ["loss_function", "optimizer", "unet_model"],
        ["unet_model.model optimizer.model"],
        "Nothing is trained: the graph has a loss or an optimizer, and no trainer",
    ),
    "no run chosen": (
        ["checkpoint_loader"],
        [],
        "Parameter 'run' on node 'checkpoint_loader' is not set: give a run folder or checkpoint",
    ),
    "no image chosen": (
        ["image_layer"],
        [],
        "Parameter 'image' on node 'image_layer' is not set: give an open image layer, or the path of an "
        "image",
    ),
    "forgotten node": (["metrics"], [], "Node 'metrics' is not connected to anything"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubleshooting(make, trouble):
    nodes, links, message = TROUBLES[trouble]
    graph = make(nodes, links)
    assert message in (*find_faults(graph), *find_warnings(graph))
    assert len(set(find_warnings(graph))) == len(find_warnings(graph))


def test_nothing_is_doubtful_in_a_graph_that_trains_and_predicts(training_graph):
    graph = training_graph.add(training_graph.new_node("predictor"))
    graph = graph.connect("trainer", "model", "predictor", "model")
    graph = graph.connect("data_loader", "test_loader", "predictor", "dataloader")
    graph = graph.configure("data_loader", {"data": "somewhere"})
    assert find_faults(graph) == find_warnings(graph) == ()


@pytest.mark.parametrize("link", range(5))
def test_training_checklist(training_graph, five_links, link):
    assert purpose_of(training_graph) == "training"
    assert all(check.done for check in checklist(training_graph))
    without = training_graph.disconnect(*five_links[link])
    missing = [check.text for check in checklist(without) if not check.done]
    expected = (
        ["a data loader's train_loader at the trainer's dataloader"],
        ["a network's model at the trainer's model", "the same network's model at the optimizer's model"],
        ["a loss function's loss_fn at the trainer's loss_fn"],
        ["the same network's model at the optimizer's model"],
        [
            "an optimizer's optimizer at the trainer's optimizer",
            "the same network's model at the optimizer's model",
        ],
    )
    assert missing == expected[link]


@pytest.mark.parametrize(
    ("nodes", "links", "missing"),
    [
        (["image_layer", "checkpoint_loader"], ["image_layer.image checkpoint_loader.input"], []),
        (
            ["image_layer", "checkpoint_loader", "predictor"],
            ["image_layer.image predictor.image", "checkpoint_loader.model predictor.model"],
            [],
        ),
        (
            ["image_layer", "unet_model"],
            ["image_layer.image unet_model.input"],
            ["a trained network: a checkpoint loader, or a network with weights"],
        ),
        (
            ["image_layer", "checkpoint_loader"],
            [],
            [
                "an image or a data loader that is connected",
                "the network's model at a predictor, or the image at the network's input",
            ],
        ),
        (
            ["image_layer", "checkpoint_loader", "optimizer"],
            ["image_layer.image checkpoint_loader.input"],
            ["no loss, optimizer or trainer"],
        ),
    ],
)
def test_inference_checklist(make, nodes, links, missing):
    graph = make(nodes, links)
    assert [check.text for check in checklist(graph, "inference") if not check.done] == missing


STEPWISE = (
    "unet_model.model initialize_optimizer.model",
    "initialize_optimizer.optimizer zero_gradients.optimizer",
    "data_loader.train_loader prepare_batch.dataloader",
    "unet_model.model forward_pass.model",
    "prepare_batch.batch forward_pass.batch",
    "forward_pass.prediction calculate_loss.prediction",
    "prepare_batch.batch calculate_loss.batch",
    "loss_function.loss_fn calculate_loss.loss_fn",
    "zero_gradients.optimizer backward_pass.optimizer",
    "calculate_loss.loss backward_pass.loss",
    "zero_gradients.optimizer optimizer_step.optimizer",
    "backward_pass.gradients optimizer_step.gradients",
    "optimizer_step.model repeat.step",
)


def test_the_seven_steps_are_a_whole_graph(make):
    nodes = ["data_loader", "unet_model", "loss_function"]
    nodes += [kind.name for kind in NODE_TYPES.values() if kind.category in ("steps", "control")]
    graph = make(nodes, STEPWISE)
    assert find_faults(graph) == ()
    assert len(find_warnings(graph)) == 1  # no data was chosen
    assert purpose_of(graph) == "training"
    assert [check.done for check in checklist(graph)] == [True] * 8
    assert [check.done for check in checklist(graph.remove("prepare_batch"))].count(False) == 3


def test_only_steps_stand_between_the_steps_of_a_repetition(make):
    graph = make(
        ("optimizer_step", "predictor", "repeat"),
        ("optimizer_step.model predictor.model", "predictor.predictions repeat.step"),
    )
    fault = (
        "Node 'predictor' stands between step 'optimizer_step' and 'repeat', which repeats steps only: "
        "connect a step to 'repeat', and 'predictor' to nothing that is repeated"
    )
    assert fault in find_faults(graph)
    with pytest.raises(GraphError, match="repeats steps only"):
        execute(graph)
