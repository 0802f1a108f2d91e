"""What a whole graph lacks (rows G3 and G6): required inputs, doubts, checklists, troubleshooting."""

import pytest

from napari_segtrain.workflow.graph import (
    NODE_TYPES,
    Check,
    Graph,
    GraphError,
    checklist,
    find_faults,
    find_warnings,
    purpose_of,
    refuse_faults,
)
from napari_segtrain.workflow.graph.execution import execute

NEW = (
    "The network '{}' has new weights, and nothing trains it: connect its model to a trainer and an "
    "optimizer, or set its weights"
)
NOTHING = (
    "Nothing is trained with node '{}': connect it to a trainer, or to steps that a data loader gives batches"
)
TRAIN_FIRST = "connect the model of a trainer or of a checkpoint loader, or set its weights"

REQUIRED = [(kind.name, port.name) for kind in NODE_TYPES.values() for port in kind.inputs if port.required]


@pytest.mark.parametrize(("kind", "port"), REQUIRED)
def test_an_open_required_input_is_a_fault(make, kind, port):
    assert f"Required input '{port}' on node 'n' is not connected" in find_faults(make([f"n:{kind}"]))


@pytest.mark.parametrize("kind", ["unet_model", "vnet_model", "network_from_config", "checkpoint_loader"])
def test_a_networks_input_is_optional(make, kind):
    assert not any("input" in fault for fault in find_faults(make([kind])))


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
        "fault",
        ["checkpoint_loader", "predictor"],
        ["checkpoint_loader.model predictor.model"],
        "Required input 'image' or 'dataloader' on node 'predictor' is not connected",
    ),
    "optimizer of another network": (
        "fault",
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
        "warning",
        ["image_layer", "unet_model", "trainer"],
        ["image_layer.image unet_model.input", "unet_model.model trainer.model"],
        "Input 'input' on node 'unet_model' is wired in a training graph: the trainer feeds the network from "
        "its dataloader; the input is for inference",
    ),
    "network input wired in stepping": (
        "warning",
        ["image_layer", "unet_model", "forward_pass"],
        ["image_layer.image unet_model.input", "unet_model.model forward_pass.model"],
        "Input 'input' on node 'unet_model' is wired in a training graph: the trainer feeds the network from "
        "its dataloader; the input is for inference",
    ),
    "untrained network into a predictor": (
        "warning",
        ["unet_model", "predictor", "trainer"],
        ["unet_model.model predictor.model", "unet_model.model trainer.model"],
        f"Predictor 'predictor' gets the untrained network 'unet_model': {TRAIN_FIRST}",
    ),
    "network that is never trained into a predictor": (
        "fault",
        ["image_layer", "unet_model", "predictor"],
        ["unet_model.model predictor.model", "image_layer.image predictor.image"],
        NEW.format("unet_model"),
    ),
    "untrained network predicts by itself": (
        "warning",
        ["image_layer", "network_from_config"],
        ["image_layer.image network_from_config.input"],
        f"The network 'network_from_config' predicts with untrained weights: {TRAIN_FIRST}",
    ),
    "network that is never trained predicts by itself": (
        "fault",
        ["image_layer", "vnet_model"],
        ["image_layer.image vnet_model.input"],
        NEW.format("vnet_model"),
    ),
    "held-out data trained on": (
        "fault",
        ["data_loader", "trainer"],
        ["data_loader.test_loader trainer.dataloader"],
        "Input 'dataloader' on node 'trainer' takes the train_loader of a data loader, and output "
        "'test_loader' on node 'data_loader' gives the test_loader of a data loader",
    ),
    "held-out data stepped with": (
        "warning",
        ["data_loader", "prepare_batch"],
        ["data_loader.val_loader prepare_batch.dataloader"],
        "Output 'val_loader' on node 'data_loader' is for inference, but input 'dataloader' on node "
        "'prepare_batch' is for training",
    ),
    "training data predicted": (
        "warning",
        ["data_loader", "predictor"],
        ["data_loader.train_loader predictor.dataloader"],
        "Output 'train_loader' on node 'data_loader' is for training, but input 'dataloader' on node "
        "'predictor' is for inference",
    ),
    "a loader in the place of a batch": (
        "fault",
        ["data_loader", "forward_pass"],
        ["data_loader.train_loader forward_pass.batch"],
        "Input 'batch' on node 'forward_pass' takes one batch, which prepare_batch gives, and output "
        "'train_loader' on node 'data_loader' gives the train_loader of a data loader",
    ),
    "a batch in the place of a loader": (
        "fault",
        ["prepare_batch", "predictor"],
        ["prepare_batch.batch predictor.dataloader"],
        "Input 'dataloader' on node 'predictor' takes a loader of batches, and output 'batch' on node "
        "'prepare_batch' gives one batch, which prepare_batch gives",
    ),
    "the value of a loss in the place of a loss": (
        "fault",
        ["calculate_loss", "trainer"],
        ["calculate_loss.loss trainer.loss_fn"],
        "Input 'loss_fn' on node 'trainer' takes a loss function, and output 'loss' on node 'calculate_loss' "
        "gives the loss that calculate_loss gives",
    ),
    "an image in the place of a prediction": (
        "fault",
        ["image_layer", "metrics"],
        ["image_layer.image metrics.predictions"],
        "Input 'predictions' on node 'metrics' takes predictions of a predictor or a network, and output "
        "'image' on node 'image_layer' gives the image of an image layer",
    ),
    "something else through a repetition": (
        "fault",
        ["optimizer_step", "repeat", "predictor"],
        ["optimizer_step.step_info repeat.step", "repeat.last predictor.model"],
        "Input 'model' on node 'predictor' takes a network, and output 'last' on node 'repeat' gives numbers",
    ),
    "the prediction of nothing": (
        "fault",
        ["unet_model", "metrics"],
        ["unet_model.output metrics.predictions"],
        "Output 'output' on node 'unet_model' gives nothing: nothing is connected to its input 'input'",
    ),
    "the labels of nothing": (
        "fault",
        ["predictor", "metrics"],
        ["predictor.all_labels metrics.labels"],
        "Output 'all_labels' on node 'predictor' gives nothing: nothing is connected to its input "
        "'dataloader'",
    ),
    "two networks in one training": (
        "fault",
        ["unet_model", "vnet_model", "optimizer", "trainer"],
        [
            "unet_model.model optimizer.model",
            "optimizer.optimizer trainer.optimizer",
            "vnet_model.model trainer.model",
        ],
        "'unet_model' and 'vnet_model' are learnt with together, and one training has one network: give each "
        "training nodes of its own",
    ),
    "a repetition repeated": (
        "fault",
        ["optimizer_step", "repeat", "zero_gradients", "again:repeat"],
        [
            "optimizer_step.optimizer repeat.step",
            "repeat.last zero_gradients.optimizer",
            "zero_gradients.optimizer again.step",
        ],
        "'repeat' and 'again' are learnt with together, and one training has one repeat: give each training "
        "nodes of its own",
    ),
    "nothing repeated": (
        "fault",
        ["unet_model", "initialize_optimizer", "repeat"],
        ["unet_model.model initialize_optimizer.model", "initialize_optimizer.optimizer repeat.step"],
        "Node 'repeat' has nothing to repeat: connect what the last of the steps gives",
    ),
    "no trainer": (
        "fault",
        ["unet_model", "optimizer"],
        ["unet_model.model optimizer.model"],
        NOTHING.format("optimizer"),
    ),
    "a loss for nothing": ("fault", ["loss_function"], [], NOTHING.format("loss_function")),
    "no run chosen": (
        "warning",
        ["checkpoint_loader"],
        [],
        "Parameter 'run' on node 'checkpoint_loader' is not set: give a run folder or checkpoint",
    ),
    "no image chosen": (
        "warning",
        ["image_layer"],
        [],
        "Parameter 'image' on node 'image_layer' is not set: give an open image layer, or the path of an "
        "image",
    ),
    "forgotten node": ("warning", ["metrics"], [], "Node 'metrics' is not connected to anything"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubleshooting(make, trouble):
    severity, nodes, links, message = TROUBLES[trouble]
    graph = make(nodes, links)
    found = {"fault": find_faults(graph), "warning": find_warnings(graph)}
    assert {name: message in said for name, said in found.items()} == {
        "fault": severity == "fault",
        "warning": severity == "warning",
    }
    assert len({*found["fault"], *found["warning"]}) == sum(map(len, found.values()))


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (
            "trainer",
            {"devices": 2},
            "Node 'n' trains on several devices, and a workflow on one: leave devices",
        ),
        ("trainer", {"num_nodes": 2}, "segtrain workflow to-config, and train it with segtrain train"),
        ("trainer", {"strategy": "ddp"}, "Node 'n' trains on several devices"),
        ("initialize_optimizer", {"device": "cuda:0,cuda:1"}, "Node 'n' trains on several devices"),
        ("predictor", {"strategy": "distributed"}, "distributed predicts from the command line"),
    ],
)
def test_what_a_workflow_does_not_do_is_a_fault(make, kind, parameters, message):
    graph = make([f"n:{kind}"])
    said = set(find_faults(graph.configure("n", parameters))) - set(find_faults(graph))
    assert [message in fault for fault in said] == [True]


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
    ("instead", "target", "missing"),
    [
        (("other", "val_loader"), "dataloader", "a data loader's train_loader at the trainer's dataloader"),
        (("last", "model"), "model", "a network's model at the trainer's model"),
        (("repeat", "last"), "loss_fn", "a loss function's loss_fn at the trainer's loss_fn"),
        (("repeat", "last"), "optimizer", "an optimizer's optimizer at the trainer's optimizer"),
    ],
)
def test_a_checklist_ticks_no_other_link(training_graph, instead, target, missing):
    types = {"other": "data_loader", "last": "trainer"}
    graph = training_graph.add(training_graph.new_node(types.get(instead[0], instead[0]), instead[0]))
    graph = graph.disconnect(*graph.link_into("trainer", target).to_dict().values())
    graph = graph.connect(*instead, "trainer", target)
    assert missing in [check.text for check in checklist(graph) if not check.done]


def test_a_checklist_begins_and_ends_with_the_trainer_and_the_input(make, training_graph):
    assert checklist(make(["loss_function"]))[0] == Check("a trainer", False)
    graph = training_graph.add(training_graph.new_node("image_layer"))
    graph = graph.connect("image_layer", "image", "unet_model", "input")
    assert [check.text for check in checklist(graph) if not check.done] == ["the network's input left open"]
    assert purpose_of(make(["image_layer", "checkpoint_loader", "predictor", "metrics"])) == "inference"


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
    lines = [
        *("Initialize optimizer", "Prepare batch", "Zero gradients", "Forward pass", "Calculate loss"),
        *("Backward pass", "Optimizer step"),
    ]
    texts = [f"{line}: all inputs connected" for line in lines]
    texts.append("a repetition, to take the steps more than once")
    assert checklist(graph) == tuple(Check(text, True) for text in texts)
    # A line is open with each of its own links.
    for link in graph.links:
        without = checklist(graph.disconnect(*link.to_dict().values()))
        if graph.node(link.target).kind.category in ("steps", "control"):
            title = graph.node(link.target).kind.title
            expected = texts[-1] if title == "Repeat" else f"{title}: all inputs connected"
            assert expected in [check.text for check in without if not check.done]


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
