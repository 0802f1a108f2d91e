"""Graphs that run: the same weights and predictions as without a graph, status, cache, errors, stop."""

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_segtrain.cli import main
from napari_segtrain.config import CancelledError, ExperimentConfig, dump_config
from napari_segtrain.inference import load_trained, write_tiff
from napari_segtrain.runs import (
    BEST,
    LAST,
    Control,
    NodeStatus,
    RunFolder,
    RunStarted,
    Warned,
    load_checkpoint,
)
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.training import Batch, Gradients, LossValue, Optimization, Prediction, StepInfo, trial
from napari_segtrain.training.load import Load
from napari_segtrain.workflow import evaluate, predict, resume, train
from napari_segtrain.workflow.graph import GraphError, NodeError, read_graph, write_graph
from napari_segtrain.workflow.graph.cache import Cache, Keys
from napari_segtrain.workflow.graph.execution import execute as execute_graph
from napari_segtrain.workflow.graph.from_config import graph_of
from napari_segtrain.workflow.graph.ports import Kind
from napari_segtrain.workflow.graph.templates import template
from napari_segtrain.workflow.graph.work import inference, models
from napari_segtrain.workflow.graph.work.data import Picture
from napari_segtrain.workflow.graph.work.inference import Labelled, Predicted
from napari_segtrain.workflow.graph.work.setting import Loader

IS_A = {
    Kind.PICTURE: Picture,
    Kind.PREDICTED: Predicted,
    Kind.LABELLED: Labelled,
    Kind.PREDICTION: Prediction,
    Kind.GRADIENTS: Gradients,
    Kind.NETWORK: torch.nn.Module,
    Kind.TRAINING: Loader,
    Kind.VALIDATION: Loader,
    Kind.TEST: Loader,
    Kind.BATCH: Batch,
    Kind.LOSS_FN: torch.nn.Module,
    Kind.LOSS: LossValue,
    Kind.OPTIMIZER: Optimization,
    Kind.NUMBERS: (dict, list, StepInfo),
}


def execute(graph, **options):
    """Run a graph, and compare what each output gave with what its port says."""
    found = execute_graph(graph, **options)
    for node in graph.nodes:
        for port in node.kind.outputs:
            value = found.values[node.name][port.name] if node.name in found.values else None
            if value is not None and port.kinds:
                assert isinstance(value, IS_A[port.kinds[0]]), f"{node.name}.{port.name}"
    return found


def experiment(**overrides):
    values = {
        "tr_setup": {"device": "cpu", "num_workers": 0},
        "tr_config": {
            "patch_size": [32, 32],
            "batch_size": 2,
            "num_epochs": 2,
            "steps_per_epoch": 2,
            "val_steps": 1,
            "evaluate_after": "none",
            "debug_pictures": 0,
            "optimizer": {"name": "AdamW", "lr": 0.01},
        },
        "model_config": {
            "base_features": 4,
            "blocks_per_stage": [1, 1],
            "max_poolings": 1,
            "dropout": 0.2,
        },
        "dataset_config": {"targets": {"cells": {"kind": "binary"}}},
    }
    return ExperimentConfig.parse(values).with_overrides(overrides)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph") / "data"
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(3):
        labels = np.zeros((40, 48), np.uint8)
        for y, x in rng.integers(4, 32, (5, 2)):
            labels[y : y + 7, x : x + 8] = 1
        image = (60 + 120 * labels + rng.normal(0, 12, labels.shape)).clip(0, 255)
        tifffile.imwrite(folder / "images" / f"im{number}.tif", image.astype(np.uint8))
        tifffile.imwrite(folder / "labels" / f"im{number}_cells.tif", labels)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of the experiment, trained through the API."""
    return train(experiment(), data, tmp_path_factory.mktemp("api")).path


@pytest.fixture
def graph(data, tmp_path):
    return graph_of(experiment(), str(data), str(tmp_path / "project"))


def command_line(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def weights(run, name=LAST):
    return load_checkpoint(Path(run) / "checkpoints" / name)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run_of(execution):
    return Path(execution.values["trainer"]["metrics"]["run"])


# ----------------------------------------------------------------------------------- the same weights


def test_api_command_line_and_graph_give_the_same_run_bit_for_bit(data, run, graph, tmp_path, capsys):
    config = tmp_path / "experiment.yaml"
    config.write_text(dump_config(experiment()))
    assert command_line("train", "-i", data, "-o", tmp_path / "cli", "--config-path", config) == 0
    assert command_line("workflow", "run", write_graph(tmp_path / "train.json", graph)) == 0
    folders = [tmp_path / "cli" / "runs" / "base", tmp_path / "project" / "runs" / "base"]
    for folder in folders:
        assert same(weights(run), weights(folder))
        for name in ("config.yaml", "resolved.json", "split.json", "data_hashes.json"):
            assert (folder / name).read_text() == (run / name).read_text(), name
        rows, expected = (json.loads((f / "metrics.json").read_text()) for f in (folder, run))
        assert rows == expected
    a, b = (load_checkpoint(f / "checkpoints" / LAST)["optimizer"]["state"] for f in (run, folders[1]))
    assert all(same(a[number], b[number]) for number in a)
    assert read_graph(folders[1] / "workflow.json") == graph


DIFFERENT = {
    "vnet": {"model_config.architecture": "vnet"},
    "planned": {"tr_config.patch_size": None, "tr_config.batch_size": None},
    "in parts": {
        "tr_config.micro_batch": 1,
        "tr_config.accumulate": 2,
        "model_config.deep_supervision": True,
        "model_config.blocks_per_stage": [1, 1, 1],
        "model_config.max_poolings": 2,
    },
}


@pytest.mark.parametrize("kind", [*DIFFERENT, "weights", "checkpoint_loader", "network_from_config"])
def test_other_networks_and_fine_tuning_give_the_same_weights_too(data, run, tmp_path, kind):
    short = {"tr_config.num_epochs": 1, "tr_config.ema_decay": 0.9}
    config = experiment(**short, **DIFFERENT.get(kind, {"model_config.weights": str(run)}))
    file = tmp_path / "network.yaml"
    file.write_text(dump_config(config))
    graph = graph_of(config, str(data), str(tmp_path / "graph"))
    other = {"checkpoint_loader": {"run": str(run)}, "network_from_config": {"config": str(file)}}
    if kind in other:
        graph = graph.remove("unet_model").add(graph.new_node(kind, config=other[kind]))
        for target in ("trainer", "optimizer"):
            graph = graph.connect(kind, "model", target, "model")
    found = execute(graph)
    expected = train(config, data, tmp_path / "api")
    assert same(weights(expected.path), weights(run_of(found)))
    assert not same(weights(run), weights(expected.path))


def test_the_steps_repeated_give_the_weights_of_the_training(data, run):
    graph, whole = template("stepwise"), graph_of(experiment(), str(data))
    for name in ("data_loader", "unet_model", "loss_function"):
        graph = graph.configure(name, whole.node(name).config)
    graph = graph.configure(
        "initialize_optimizer", {"optimizer": {"name": "AdamW", "lr": 0.01}, "device": "cpu"}
    )
    graph = graph.configure("repeat", {"num_epochs": 2})
    found = execute(graph)
    assert same(weights(run), found.values["optimizer_step"]["model"].state_dict())
    history = found.values["repeat"]["history"]
    assert [entry["round"] for entry in history] == [1, 2, 3, 4]
    assert history[0]["learning_rate"] == 0.01 > history[-1]["learning_rate"]
    # Fewer rounds are the beginning of the same training.
    begun = execute(graph.configure("repeat", {"rounds": 3})).values["repeat"]["history"]
    assert begun == history[:3]


def test_steps_recompute_features_as_the_training_and_warn_of_whole_batches(data, monkeypatch):
    where = "napari_segtrain.workflow.graph.work.setting.prepare_data"
    prepare = import_module("napari_segtrain.workflow.graph.work.setting").prepare_data

    def lighter(*given, **more):
        batches = prepare(*given, **more)
        batches.resolved = batches.resolved.under(Load(1, recompute=True))
        return batches

    monkeypatch.setattr(where, lighter)
    events = []
    graph = stepwise(data).configure("optimizer_step", {"gradient_clip": 0.0})
    found = execute(graph, emit=events.append)
    assert found.values["optimizer_step"]["step_info"].norm_before > 0, "told without clipping too"
    assert found.values["unet_model"]["model"].checkpointing
    (said,) = [e.message for e in events if isinstance(e, Warned) and "micro_batch" in e.message]
    assert "A step computes the whole batch of 2 patches, where the training computes 1 at a time" in said


def test_steps_say_that_the_training_is_compiled_unless_that_is_off(data, monkeypatch):
    where = "napari_segtrain.training.building.maybe_compile"
    monkeypatch.setattr(where, lambda *given, switch, **about: switch != "off")
    said = {}
    for switch in ("auto", "off"):
        events = []
        execute(stepwise(data).configure("initialize_optimizer", {"compile": switch}), emit=events.append)
        said[switch] = [e.message for e in events if isinstance(e, Warned) and "compiled code" in e.message]
    assert said["off"] == []
    (sentence,) = said["auto"]
    assert "The training computes with compiled code (tr_setup.compile), and single steps in part" in sentence


def test_what_is_connected_is_what_is_trained(graph):
    execution = execute(graph, only=("optimizer", "loss_function"))
    values = execution.values
    network = values["unet_model"]["model"]
    assert isinstance(network, torch.nn.Module)
    assert values["optimizer"]["optimizer"].network is network
    batch = next(iter(values["data_loader"]["train_loader"]))
    assert batch["image"].shape == (2, 1, 32, 32)
    assert values["loss_function"]["loss_fn"](network(batch["image"]), batch, 0).total > 0
    assert execution.status["trainer"] == "skipped"
    again = execute(graph, only=("optimizer",), again=True).status
    assert {name for name, status in again.items() if status == "skipped"} == {"loss_function", "trainer"}


# ------------------------------------------------------------------------------------- inference


@pytest.mark.parametrize("given", ["images/im0.tif", "images"])
def test_predictor_direct_inference_and_api_predict_exactly_the_same(data, run, given):
    images = [data / given] if given.endswith(".tif") else sorted((data / given).iterdir())
    files = {"checkpoint_loader": {"run": str(run)}, "image_layer": {"image": str(data / given)}}
    outputs = {"predict": ("predictor", "all_predictions"), "direct": ("checkpoint_loader", "output")}
    for name, (node, port) in outputs.items():
        graph = template(name)
        for each, parameters in files.items():
            graph = graph.configure(each, parameters)
        values = execute(graph).values[node]
        assert isinstance(values[port], Predicted)
        assert list(values[port].arrays) == [image.stem for image in images]
        for image in images:
            np.testing.assert_array_equal(
                values[port].arrays[image.stem]["cells"], predict(run, image)["cells"]
            )
        if node == "predictor":
            assert list(values["predictions"].arrays) == ["im0"]


@pytest.mark.parametrize("source", ["predict", "evaluate"])
def test_a_prediction_that_memory_hardly_holds_is_warned_of(data, run, monkeypatch, source):
    monkeypatch.setattr(inference, "main_memory", lambda: SimpleNamespace(free=6000))
    graph = template(source).configure("checkpoint_loader", {"run": str(run)})
    where = {"predict": ("image_layer", {"image": str(data / "images")}), "evaluate": ("data_loader", {})}
    node, parameters = where[source]
    graph = graph.configure(node, parameters or {"data": str(data)})
    events = []
    execute(graph, emit=events.append)
    (said,) = [e.message for e in events if isinstance(e, Warned) and "keeps what it predicts" in e.message]
    assert said.startswith(
        "Node 'predictor' keeps what it predicts in memory: 0.0 GiB of 0.0 GiB that are free"
    )


def test_an_image_may_be_an_address(data, run, tmp_path):
    image = tifffile.imread(data / "images" / "im0.tif")
    zarr.save_array(tmp_path / "far.zarr", image)
    graph = template("predict").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("image_layer", {"image": (tmp_path / "far.zarr").as_uri()})
    found = execute(graph).values["predictor"]["predictions"].arrays["far"]["cells"]
    np.testing.assert_array_equal(found, predict(run, image)["cells"])


@pytest.mark.parametrize("said", ["unet", "vnet"])
def test_the_network_of_a_file_predicts_with_the_weights_it_names(data, run, tmp_path, said):
    image, file = data / "images" / "im0.tif", tmp_path / "network.yaml"
    file.write_text(
        dump_config(experiment(**{"model_config.weights": str(run), "model_config.architecture": said}))
    )
    graph = template("direct").remove("checkpoint_loader").configure("image_layer", {"image": str(image)})
    graph = graph.add(graph.new_node("network_from_config", config={"config": str(file)}))
    graph = graph.connect("image_layer", "image", "network_from_config", "input")
    if said == "vnet":
        with pytest.raises(NodeError, match="has weights of a unet, not of a vnet: take a unet_model"):
            execute(graph)
    else:
        found = execute(graph).values["network_from_config"]["output"]
        np.testing.assert_array_equal(found.arrays["im0"]["cells"], predict(run, image)["cells"])
        assert Keys(graph, {}, {}).of("network_from_config") != Keys(
            graph.configure("network_from_config", {"weights": str(run / "checkpoints" / BEST)}), {}, {}
        ).of("network_from_config")


def test_a_predictor_says_what_it_is_given_and_leaves_the_rest_to_the_run(graph):
    graph = graph.configure("trainer", {"inference_config": {"overlap": 0.9, "output": "uint8"}})
    graph = graph.add(graph.new_node("predictor", config={"device": "cpu"}))
    graph = graph.connect("unet_model", "model", "predictor", "model")
    graph = graph.connect("data_loader", "val_loader", "predictor", "dataloader")

    def predicted(**parameters):
        found = execute(graph.configure("predictor", parameters), only=("predictor",))
        (arrays,) = found.values["predictor"]["predictions"].arrays.values()
        return arrays["cells"]

    as_in_the_run = predicted()
    np.testing.assert_array_equal(as_in_the_run, predicted(overlap=0.9, output="uint8"))
    assert len(np.unique(as_in_the_run)) > 2
    # Defaults of the experiment that the run has said otherwise.
    assert (predicted(overlap=0.5) != as_in_the_run).any()
    assert set(np.unique(predicted(output="labels"))) <= {0, 1}


def test_a_part_that_is_held_out_is_predicted_and_one_that_is_not_there_is_refused(data, graph, tmp_path):
    folder = shutil.copytree(data, tmp_path / "split")
    split = {"train": [{"image": "im0"}], "val": [{"image": "im1"}], "test": [{"image": "im2"}]}
    (folder / "split.json").write_text(json.dumps(split))
    graph = graph.add(graph.new_node("predictor", config={"device": "cpu"}))
    graph = graph.connect("unet_model", "model", "predictor", "model")
    graph = graph.connect("data_loader", "test_loader", "predictor", "dataloader")
    asked = {"only": ("predictor",)}
    found = execute(graph.configure("data_loader", {"data": str(folder)}), **asked).values["predictor"]
    assert list(found["all_predictions"].arrays) == list(found["all_labels"].truth) == ["im2"]
    with pytest.raises(
        NodeError, match="the split of the data has no test part: connect train_loader, val_loader, or name"
    ):
        execute(graph, **asked)


@pytest.mark.parametrize(
    ("node", "parameters", "message"),
    [
        ("vnet_model", {"weights": "{run}"}, "has weights of a unet, not of a vnet: take a unet_model"),
        ("image_layer", {"image": "{run}/no.tif"}, "no.tif: there is no such file, and no image layer of"),
        ("checkpoint_loader", {"run": "{run}/nothing"}, "Node 'checkpoint_loader': "),
    ],
)
def test_a_network_that_cannot_predict_says_why(data, run, node, parameters, message):
    image = str(data / "images" / "im0.tif")
    given = {name: text.format(run=run) for name, text in parameters.items()}
    graph = template("direct").configure("image_layer", {"image": image})
    graph = graph.configure("checkpoint_loader", {"run": str(run)})
    if node == "vnet_model":
        graph = graph.remove("checkpoint_loader").add(graph.new_node(node, config=given))
        graph = graph.connect("image_layer", "image", node, "input")
    graph = graph.configure(node, given)
    with pytest.raises(NodeError) as error:
        execute(graph)
    assert message in str(error.value)
    assert error.value.node == node


def test_metrics_are_those_of_evaluate(data, run):
    graph = template("evaluate").configure("checkpoint_loader", {"run": str(run)})
    found = execute(graph.configure("data_loader", {"data": str(data)}))
    assert found.values["metrics"]["metrics"] == evaluate(run, "val").scores


def evaluating(run, folder, part="val"):
    """Return the graph that scores a run on a part of a folder."""
    graph = template("evaluate").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("data_loader", {"data": str(folder)})
    graph = graph.disconnect("data_loader", "val_loader", "predictor", "dataloader")
    return graph.connect("data_loader", f"{part}_loader", "predictor", "dataloader")


def scored_images(run, folder, part="val"):
    """Return which images of a folder are scored as a part, and what is said of the split."""
    events = []
    found = execute(evaluating(run, folder, part), emit=events.append).values["predictor"]
    said = [e.message for e in events if isinstance(e, Warned) and "trained on" in e.message]
    assert list(found["all_predictions"].arrays) == list(found["all_labels"].truth)
    return list(found["all_predictions"].arrays), said


def test_the_split_of_a_run_is_that_of_its_own_images_only(data, run, tmp_path):
    (held_out,) = (entry["image"] for entry in json.loads((run / "split.json").read_text())["val"])
    folder = shutil.copytree(data, tmp_path / "copy")
    labels = folder / "labels" / f"{held_out}_cells.tif"
    tifffile.imwrite(labels, np.roll(tifffile.imread(labels), 2))
    # It is the run's data at another place also when labels were painted since.
    assert scored_images(run, folder) == ([held_out], [])
    with pytest.raises(NodeError, match="the split of this run has no test part, only train, val"):
        scored_images(run, folder, "test")
    images = [f"im{number}" for number in range(3)]
    for name in images:
        file = folder / "images" / f"{name}.tif"
        tifffile.imwrite(file, tifffile.imread(file)[::-1])
    with pytest.raises(NodeError, match="the split of the data has no test part: connect train_loader"):
        scored_images(run, folder, "test")
    first, second = (name for name in images if name != held_out)
    (folder / "split.json").write_text(json.dumps({"train": [held_out], "val": [first], "test": [second]}))
    found, (said,) = scored_images(run, folder)
    assert found == [first]
    assert said.startswith(f"{run}: the data is not what the run was trained on: the image ")
    assert "The val part is therefore not the run's, but that of the split.json of the data" in said
    assert scored_images(run, folder, "test")[0] == [second]
    (folder / "images" / f"{first}.tif").rename(folder / "images" / "other.tif")
    (folder / "labels" / f"{first}_cells.tif").rename(folder / "labels" / "other_cells.tif")
    (folder / "split.json").write_text(json.dumps({"train": [held_out], "val": ["other"]}))
    found, (said,) = scored_images(run, folder)
    assert found == ["other"]
    assert f"the image {first} is gone" in said


def test_what_a_data_loader_says_of_the_split_counts_where_the_data_is_not_the_runs(data, run, tmp_path):
    folder = shutil.copytree(data, tmp_path / "other")
    for number in range(3):
        file = folder / "images" / f"im{number}.tif"
        tifffile.imwrite(file, tifffile.imread(file)[::-1])
    graph = evaluating(run, folder)
    for share, number in ((0.8, 1), (0.3, 2)):
        found = execute(graph.configure("data_loader", {"train_split": share})).values["predictor"]
        assert len(found["all_predictions"].arrays) == number


def test_images_of_the_run_without_labels_are_not_scored(data, run, tmp_path):
    folder = shutil.copytree(data, tmp_path / "copy")
    (held_out,) = (entry["image"] for entry in json.loads((run / "split.json").read_text())["val"])
    (folder / "labels" / f"{held_out}_cells.tif").unlink()
    with pytest.raises(NodeError, match=f"the image '{held_out}' has no labels here; give the data of the"):
        execute(evaluating(run, folder))


def test_a_trained_network_can_be_used_in_the_graph_that_trains_it(data, graph):
    graph = graph.add(graph.new_node("predictor")).connect("trainer", "model", "predictor", "model")
    graph = graph.connect("data_loader", "val_loader", "predictor", "dataloader")
    found = execute(graph)
    (image,) = found.values["predictor"]["all_predictions"].arrays
    expected = predict(run_of(found), data / "images" / f"{image}.tif")["cells"]
    np.testing.assert_array_equal(found.values["predictor"]["predictions"].arrays[image]["cells"], expected)


# ----------------------------------------------------------------------------- status, cache, errors


def statuses(events, name):
    return [e.status for e in events if isinstance(e, NodeStatus) and e.node == name and e.fraction is None]


def test_only_nodes_whose_inputs_changed_run_again(graph, data):
    cache, events = Cache(), []
    first = execute(graph, cache=cache, emit=events.append)
    assert set(first.status.values()) == {"done"}
    assert statuses(events, "trainer") == ["waiting", "running", "done"]
    assert any(isinstance(event, RunStarted) for event in events)
    assert set(execute(graph, cache=cache).status.values()) == {"cached"}
    # Another process finds the run.
    other = execute(graph)
    assert set(other.status.values()) == {"cached"}
    assert run_of(other) == run_of(first)
    longer = execute(graph.configure("trainer", {"num_epochs": 3}), cache=cache)
    assert {name for name, status in longer.status.items() if status == "cached"} == {
        "data_loader",
        "loss_function",
    }
    again = execute(graph.configure("optimizer", {"optimizer": {"name": "AdamW", "lr": 0.02}}), cache=cache)
    assert again.status["data_loader"] == "cached"
    assert run_of(again).name != run_of(first).name
    assert set(execute(graph, again=True).status.values()) == {"done"}


def stepwise(data, rounds=2):
    """Return the steps on tiny data, repeated."""
    graph, whole = template("stepwise"), graph_of(experiment(), str(data))
    for name in ("data_loader", "unet_model", "loss_function"):
        graph = graph.configure(name, whole.node(name).config)
    return graph.configure("repeat", {"rounds": rounds}).configure("initialize_optimizer", {"device": "cpu"})


def test_a_step_of_a_repetition_that_is_known_runs_again_with_it(data):
    cache, graph = Cache(), stepwise(data)
    execute(graph, cache=cache)
    shown = execute(graph, cache=cache, only=("forward_pass",))
    assert {"forward_pass", "repeat"} <= {name for name, s in shown.status.items() if s == "done"}
    assert shown.values["forward_pass"]["prediction"].outputs
    # A step that is known from before it was repeated runs in the repetition, too.
    alone = graph.remove("repeat")
    first = execute(alone, cache=cache).values["optimizer_step"]["step_info"]
    assert first.step == 1
    again = execute(graph, cache=cache)
    assert again.values["optimizer_step"]["step_info"].step == 2
    predictor = graph.new_node("predictor", config={"overlap": 0.25, "device": "cpu"})
    graph = graph.add(predictor).connect("optimizer_step", "model", "predictor", "model")
    graph = graph.connect("data_loader", "val_loader", "predictor", "dataloader")
    execute(graph, cache=cache)
    other = execute(graph.configure("predictor", {"overlap": 0.5}), cache=cache)
    assert (other.status["predictor"], other.status["repeat"]) == ("done", "done")


def test_batches_that_are_kept_are_told_whose_they_are(graph):
    cache = Cache()
    longer = graph.configure("trainer", {"num_epochs": 3})
    for each, number in ((graph, 2), (longer, 3), (graph, 2)):
        found = execute(each, cache=cache, only=("optimizer", "data_loader"))
        assert (
            found.values["data_loader"]["train_loader"].setting.batches.config.tr_config.num_epochs == number
        )
    assert found.status["data_loader"] == "cached"


@pytest.mark.parametrize("chosen", [2, None])
def test_what_was_fitted_into_the_memory_stays_with_batches_that_are_kept(
    data, tmp_path, monkeypatch, chosen
):
    monkeypatch.setattr(trial, "step_memory", lambda config, resolved: resolved.memory)
    monkeypatch.setattr(trial, "free_memory", lambda device: 1000)
    left_open = {"tr_config.patch_size": None, "tr_config.batch_size": chosen, "tr_config.num_epochs": 1}
    other = {"tr_config.optimizer": {"name": "AdamW", "lr": 0.02}, "tr_config.num_epochs": 2}
    cache, runs = Cache(), []
    for changes in (left_open, left_open | other):
        graph = graph_of(experiment(**changes), str(data), str(tmp_path / "graph"))
        found = execute(graph, cache=cache)
        runs.append(run_of(found))
    assert found.status["data_loader"] == "cached"
    resolved = json.loads((runs[1] / "resolved.json").read_text())
    assert (resolved["micro_batch"], resolved["gradient_checkpointing"]) == (1, True)
    expected = train(experiment(**left_open | other), data, tmp_path / "api").path
    assert same(weights(expected), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[1]))
    for name in ("config.yaml", "resolved.json"):
        assert (runs[1] / name).read_text() == (expected / name).read_text(), name


def test_only_what_is_said_of_the_length_changes_with_the_length(graph):
    late = [{"name": "BCEWithLogitsLoss"}, {"name": "DiceLoss", "start_epoch": 2}]
    graph, cache = graph.configure("loss_function", {"losses": late}), Cache()

    def said(**parameters):
        changed = graph.configure("trainer", parameters)
        found = execute(changed, cache=cache, only=("optimizer", "data_loader"))
        batches = found.values["data_loader"]["train_loader"].setting.batches
        return [message for message in batches.resolved.messages if "will never count" in message]

    assert [len(said(num_epochs=number)) for number in (2, 3, 2, 1)] == [1, 0, 1, 1]
    assert "training has 1 epochs" in said(num_epochs=1)[0]


def test_losses_that_were_changed_and_changed_back_are_those_that_train(graph):
    cache, rows = Cache(), []
    other = graph.configure("loss_function", {"losses": [{"name": "FocalLoss"}]})
    for each in (graph, other, graph):
        found = execute(each, cache=cache)
        rows.append(json.loads((run_of(found) / "metrics.json").read_text()))
        shutil.rmtree(run_of(found))
    assert rows[0] == rows[2] != rows[1]


@pytest.mark.parametrize(
    ("node", "parameters"),
    [
        ("loss_function", {"losses": [{"name": "FocalLoss"}]}),
        ("trainer", {"micro_batch": 1}),
        ("trainer", {"gradient_checkpointing": True}),
        ("trainer", {"precision": "bf16"}),
        ("trainer", {"ema_decay": 0.9}),
        ("optimizer", {"optimizer": {"name": "SGD"}}),
    ],
)
def test_batches_follow_from_all_that_their_size_follows_from(graph, node, parameters):
    before, after = (Keys(g, {}, {}).of("data_loader") for g in (graph, graph.configure(node, parameters)))
    assert before != after


def test_batches_follow_from_the_checkpoint_that_is_trained_on(graph, run, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(run, folder)
    graph = graph.configure("unet_model", {"weights": str(folder)})
    before = {name: Keys(graph, {}, {}).of(name) for name in ("data_loader", "unet_model")}
    # Either of the checkpoints can be the one that the run predicts with.
    (folder / "checkpoints" / LAST).write_bytes(b"another")
    assert all(Keys(graph, {}, {}).of(name) != key for name, key in before.items())


def test_a_run_that_is_gone_or_has_gone_on_is_not_that_of_the_graph(graph):
    cache, found = Cache(), set()
    graph = graph.configure("trainer", {"inference_config": {"checkpoint": "last"}})
    run = run_of(execute(graph, cache=cache))
    again = execute(graph, cache=cache)
    assert (run_of(again), again.status["trainer"]) == (run, "cached")
    resume(run, overrides={"tr_config.num_epochs": 3})
    found.add(run_of(execute(graph, cache=cache)))
    for file in (next(iter(found)) / "checkpoints").iterdir():
        if file.name != BEST:
            file.unlink()
    found.add(run_of(execute(graph, cache=cache)))
    assert len({run, *found}) == 3


def test_predictions_whose_files_are_gone_are_written_again(data, run, tmp_path):
    graph = template("predict").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("image_layer", {"image": str(data / "images" / "im0.tif")})
    graph, cache = graph.configure("predictor", {"save_to": str(tmp_path / "saved")}), Cache()
    execute(graph, cache=cache)
    assert execute(graph, cache=cache).status["predictor"] == "cached"
    (file,) = (tmp_path / "saved").iterdir()
    file.unlink()
    assert execute(graph, cache=cache).status["predictor"] == "done"
    assert file.is_file()


def test_a_layer_that_is_shared_anew_is_the_same_input(data, run, tmp_path):
    image, cache = tifffile.imread(data / "images" / "im0.tif"), Cache()
    graph = template("predict").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("image_layer", {"image": "my cells"})
    for overlap, array, expected in (
        (0.25, image, "done"),
        (0.25, image, "cached"),
        (0.5, image, "done"),
        (0.5, image[::-1], "done"),
    ):
        scratch = Scratch.create(tmp_path)
        layers = {"my cells": scratch.add("image_0", array)}
        found = execute(graph.configure("predictor", {"overlap": overlap}), cache=cache, layers=layers)
        assert found.status["predictor"] == expected
        shutil.rmtree(scratch.folder)


def test_what_has_the_path_of_a_shared_array_is_not_kept(tmp_path):
    """The array is deleted after the run, which it could not be everywhere while something has it open."""
    graph, cache = template("predict").remove("checkpoint_loader").remove("predictor"), Cache()
    graph = graph.configure("image_layer", {"image": "my cells"})
    for shared, expected in (
        (Scratch.create(tmp_path), ["done", "done"]),
        (Scratch(tmp_path / "a" / "b"), ["done", "cached"]),
    ):
        layers = {"my cells": shared.add("image_0", np.zeros((4, 4), np.uint8))}
        runs = [execute(graph, only=("image_layer",), cache=cache, layers=layers) for _ in expected]
        assert [run.status["image_layer"] for run in runs] == expected


def test_batches_that_are_kept_keep_nothing_of_a_training(graph):
    found = execute(graph.configure("trainer", {"keep_labels": True}))
    batches = found.values["data_loader"]["train_loader"].setting.batches
    assert (batches.trainer, batches.position()) == (None, (0, 0))
    assert batches.follow_labels(RunFolder.open(run_of(found))) is not None
    batches.config = batches.config.with_overrides({"tr_config.keep_labels": False})
    assert batches.follow_labels(RunFolder.open(run_of(found))) is None


def test_paths_begin_at_home(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, tmp_path / "data")
    graph = graph_of(experiment(**{"tr_config.num_epochs": 1}), "~/data", "~/project")
    first, again = execute(graph), execute(graph)
    assert run_of(first) == run_of(again) == tmp_path / "project" / "runs" / "base"
    assert (first.status["trainer"], again.status["trainer"]) == ("done", "cached")
    graph = template("predict").configure("checkpoint_loader", {"run": "~/project/runs/base"})
    graph = graph.configure("image_layer", {"image": "~/data/images/im0.tif"})
    graph, cache = graph.configure("predictor", {"save_to": "~/found"}), Cache()
    assert [execute(graph, cache=cache).status["predictor"] for _ in range(2)] == ["done", "cached"]
    assert (tmp_path / "found" / "im0_cells.tif").is_file()
    assert not (tmp_path / "~").exists()


def test_a_network_that_a_step_has_used_is_made_anew(data):
    graph, cache = stepwise(data).remove("repeat").configure("unet_model", {"norm": "batch"}), Cache()
    for name in ("zero_gradients", "forward_pass", "calculate_loss"):
        found = execute(graph, cache=cache, only=(name,))
    network = found.values["unet_model"]["model"]
    fresh = execute(graph, cache=cache, only=("unet_model",)).values["unet_model"]["model"]
    means = [name for name in network.state_dict() if name.endswith("running_mean")]
    assert means
    assert all(network.state_dict()[name].any() and not fresh.state_dict()[name].any() for name in means)
    # No step goes on with what an earlier one gave of another network.
    begun = execute(graph, cache=cache).values["optimizer_step"]["model"].state_dict()
    assert same(begun, execute(graph).values["optimizer_step"]["model"].state_dict())


def test_other_labels_are_another_input(graph, data, tmp_path):
    copied = tmp_path / "copy"
    for file in data.rglob("*.tif"):
        (copied / file.parent.name).mkdir(parents=True, exist_ok=True)
        (copied / file.parent.name / file.name).write_bytes(file.read_bytes())
    graph = graph.configure("data_loader", {"data": str(copied)})
    cache = Cache()
    execute(graph, only=("data_loader",), cache=cache)
    assert execute(graph, only=("data_loader",), cache=cache).status["data_loader"] == "cached"
    file = copied / "labels" / "im0_cells.tif"
    tifffile.imwrite(file, np.roll(tifffile.imread(file), 3))
    assert execute(graph, only=("data_loader",), cache=cache).status["data_loader"] == "done"


def test_the_first_error_names_its_node_and_what_follows_is_cancelled(graph, tmp_path):
    events = []
    broken = graph.configure("data_loader", {"data": str(tmp_path / "nowhere")})
    with pytest.raises(NodeError, match=r"^Node 'data_loader': .*nowhere") as error:
        execute(broken, emit=events.append)
    assert error.value.node == "data_loader"
    assert statuses(events, "data_loader")[-1] == "failed"
    assert statuses(events, "trainer")[-1] == "cancelled"


@pytest.mark.parametrize(
    ("node", "parameters", "message"),
    [
        ("network_from_config", {"config": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
        ("network_from_config", {}, "Parameter 'config' is not set: give the YAML file of an experiment"),
        ("checkpoint_loader", {}, "Parameter 'run' is not set: give a run folder or checkpoint"),
        (
            "data_loader",
            {"auxiliary_tasks": {"sdt": {"type": "distance_transform", "source_target": "nuclei"}}},
            "auxiliary_tasks",
        ),
    ],
)
def test_an_error_before_the_first_node_names_its_node_too(graph, node, parameters, message):
    if node == "data_loader":
        graph = graph.configure(node, parameters)
    else:
        graph = graph.remove("unet_model").add(graph.new_node(node, config=parameters))
        for target in ("trainer", "optimizer"):
            graph = graph.connect(node, "model", target, "model")
    events = []
    with pytest.raises(NodeError) as error:
        execute(graph, emit=events.append)
    assert error.value.node == node
    assert str(error.value).startswith(f"Node '{node}': ")
    assert message in str(error.value)
    for each in graph.nodes:
        assert statuses(events, each.name) == ["waiting", "failed" if each.name == node else "cancelled"]
    said = [e.message for e in events if isinstance(e, NodeStatus) and e.status == "failed"]
    assert [f"Node '{node}': {text}" for text in said] == [str(error.value)]


def test_what_only_work_can_tell_is_refused_in_words(run):
    with pytest.raises(GraphError, match="this network has no plan: take one from a network node"):
        models.described(torch.nn.Linear(1, 1))
    with pytest.raises(GraphError, match="there are no labels of what was predicted: give the predictor"):
        inference.metrics(None, {"predictions": Predicted(), "labels": Labelled()}, None)
    nameless = replace(load_trained(run), config=None)
    with pytest.raises(GraphError, match="this network's experiment is not known: take it from a run"):
        inference.made_config(models.describe(nameless))
    with pytest.raises(GraphError, match="batches are made for a network: connect the loader where one is"):
        len(Loader("train", None, None, None))


def test_any_error_names_its_node(graph, monkeypatch):
    def broken(*given):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("napari_segtrain.workflow.graph.work.training.loss_function", broken)
    with pytest.raises(NodeError, match=r"^Node 'loss_function': ZeroDivisionError: by nothing$"):
        execute(graph)


def test_a_stop_ends_the_training_and_the_graph(graph):
    control, events = Control(), []

    def emit(event):
        events.append(event)
        if event.event == "batch_done":
            control.stop()

    with pytest.raises(CancelledError, match="the workflow was stopped"):
        execute(graph, emit=emit, control=control)
    assert statuses(events, "trainer") == ["waiting", "running", "cancelled"]
    assert statuses(events, "optimizer")[-1] == "done"


def stopped_at(graph, is_there):
    """Run a graph, stop it when an event is there, and return where its nodes were at the end."""
    control, events = Control(), []

    def emit(event):
        events.append(event)
        if is_there(event):
            control.stop()

    with pytest.raises(CancelledError):
        execute(graph, emit=emit, control=control)
    return {node.name: statuses(events, node.name)[-1] for node in graph.nodes}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("napari_segtrain.workflow.graph.work.setting", "open_data"),
        ("napari_segtrain.workflow.graph.work.setting", "review"),
        ("napari_segtrain.training.building", "resolve"),
        ("napari_segtrain.training.trial", "step_memory"),
        ("napari_segtrain.training.building", "choose_splits"),
        ("napari_segtrain.training.building.Normalisation", "fit"),
        ("napari_segtrain.training.building.SegtrainDataModule", "loader"),
    ],
)
def test_a_stop_ends_a_data_loader_after_the_part_that_it_is_in(graph, monkeypatch, place, name):
    control, calls, events = Control(), [], []
    monkeypatch.setattr(trial, "_CLEAR", 0.0)  # so that a step is tried
    package, _, kind = place.rpartition(".")
    home = getattr(import_module(package), kind)
    real = getattr(home, name)

    def stopping(*given, **more):
        calls.append(name)
        control.stop()
        return real(*given, **more)

    monkeypatch.setattr(home, name, stopping)
    with pytest.raises(CancelledError, match="the workflow was stopped"):
        execute(graph, emit=events.append, control=control)
    assert calls == [name]
    assert statuses(events, "data_loader") == ["waiting", "running", "cancelled"]


def test_a_stop_ends_a_repetition_with_its_steps(data):
    graph = stepwise(data, rounds=3)
    found = stopped_at(graph, lambda event: event.event == "node_status" and event.message == "round 1 of 3")
    repeated = {n.name for n in graph.nodes if n.kind.category == "steps"} - {"initialize_optimizer"}
    assert {name for name, status in found.items() if status == "cancelled"} == {*repeated, "repeat"}
    assert found["initialize_optimizer"] == "done"


@pytest.mark.parametrize("source", ["image", "dataloader"])
def test_a_stop_ends_a_prediction(data, run, source):
    graph = template("predict" if source == "image" else "evaluate")
    graph = graph.configure("checkpoint_loader", {"run": str(run)})
    if source == "image":
        graph = graph.configure("image_layer", {"image": str(data / "images")})
    else:
        graph = graph.configure("data_loader", {"data": str(data)})
        graph = graph.disconnect("data_loader", "val_loader", "predictor", "dataloader")
        graph = graph.connect("data_loader", "train_loader", "predictor", "dataloader")
    # There are several images, and the first one ends before the last.
    found = stopped_at(graph, lambda event: event.event == "node_status" and (event.fraction or 1) < 1)
    assert found["predictor"] == "cancelled"
    assert found.get("metrics", "cancelled") == "cancelled"
    assert found["checkpoint_loader"] == "done"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda g: g.disconnect("data_loader", "train_loader", "trainer", "dataloader").connect(
                "data_loader", "val_loader", "trainer", "dataloader"
            ),
            "Input 'dataloader' on node 'trainer' takes the train_loader of a data loader",
        ),
        (
            lambda g: g.configure("trainer", {"devices": 2}),
            "Node 'trainer' trains on several devices, and a workflow on one",
        ),
        (lambda g: g.configure("data_loader", {"data": None}), "Parameter 'data' is not set"),
        (
            lambda g: (
                g.add(g.new_node("trainer"))
                .connect("data_loader", "train_loader", "trainer_2", "dataloader")
                .connect("unet_model", "model", "trainer_2", "model")
                .connect("loss_function", "loss_fn", "trainer_2", "loss_fn")
                .connect("optimizer", "optimizer", "trainer_2", "optimizer")
            ),
            "'trainer' and 'trainer_2' are learnt with together, and one training has one trainer",
        ),
    ],
)
def test_a_graph_that_cannot_train_says_why(graph, change, message):
    with pytest.raises(GraphError) as error:
        execute(change(graph))
    assert message in str(error.value)


def test_steps_in_a_wrong_order_are_refused_by_their_rule(data):
    graph = template("stepwise").configure("data_loader", {"data": str(data), "patch_size": [32, 32]})
    graph = graph.configure("unet_model", {"base_features": 4, "max_poolings": 1}).remove("zero_gradients")
    for target in ("backward_pass", "optimizer_step"):
        graph = graph.connect("initialize_optimizer", "optimizer", target, "optimizer")
    with pytest.raises(NodeError, match="Node 'backward_pass': zero_gradients must come before"):
        execute(graph.configure("repeat", {"rounds": 2}))


def test_an_untrained_network_predicts_and_says_so(data, graph):
    graph = graph.add(graph.new_node("image_layer", config={"image": str(data / "images" / "im0.tif")}))
    graph = graph.connect("image_layer", "image", "unet_model", "input")
    events = []
    found = execute(graph, only=("unet_model",), emit=events.append).values["unet_model"]["output"]
    assert found.arrays["im0"]["cells"].shape == (40, 48)
    assert not [event for event in events if isinstance(event, Warned) and "weights of" in event.message]


# ------------------------------------------------------------------------------- for another process


def test_the_engine_runs_a_graph_with_layers_and_shares_what_outputs_gave(data, run, tmp_path):
    from napari_segtrain.engine import RunGraph
    from napari_segtrain.engine.jobs import WORKFLOW_JOBS
    from napari_segtrain.runs import NodeOutput
    from napari_segtrain.runs.scratch import open_memmap
    from napari_segtrain.workflow.graph import graph_to_dict

    image = tifffile.imread(data / "images" / "im0.tif")
    spec = Scratch(tmp_path / "shared").add("image", image)
    graph = template("predict").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("image_layer", {"image": "my cells"})
    command = RunGraph(
        graph=graph_to_dict(graph),
        show=(("predictor", "predictions"), ("image_layer", "image")),
        output=str(tmp_path / "outputs"),
        layers={"my cells": spec},
    )
    for expected in ("done", "cached"):
        events = []
        WORKFLOW_JOBS.run_graph(RunGraph.model_validate_json(command.to_json()), events.append, Control())
        assert statuses(events, "predictor")[-1] == expected
        outputs = [event for event in events if isinstance(event, NodeOutput)]
        assert [(event.node, event.port) for event in outputs] == list(command.show)
        ((name, found),) = outputs[0].arrays.items()
        assert name == "my cells cells"
        np.testing.assert_array_equal(open_memmap(found), predict(run, image)["cells"])
        assert (outputs[1].arrays, outputs[1].numbers) == ({}, {"image": "my cells"})
    wrong = command.replace(show=(("predictor", "prediction"),))
    with pytest.raises(GraphError, match="has no output 'prediction'; it has predictions, all_pred"):
        WORKFLOW_JOBS.run_graph(wrong, events.append, Control())


def test_patches_are_told_with_the_place_of_the_first_of_them(data, tmp_path):
    from napari_segtrain.engine import RunGraph
    from napari_segtrain.engine.jobs import WORKFLOW_JOBS
    from napari_segtrain.runs import NodeOutput
    from napari_segtrain.runs.scratch import open_memmap
    from napari_segtrain.workflow.graph import graph_to_dict

    folder = tmp_path / "data"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for file in (data / kind).glob("*.tif"):
            to = folder / kind / file.name
            array = np.repeat(tifffile.imread(file)[None], 12, axis=0)
            write_tiff(to, array[None], (2.0, 0.5, 0.25), "micrometer")
    graph = stepwise(folder, 1).configure("data_loader", {"patch_size": (8, 32, 32)})
    show = (("prepare_batch", "batch"), ("forward_pass", "prediction"))
    command = RunGraph(graph=graph_to_dict(graph), show=show, output=str(tmp_path / "outputs"))
    events = []
    WORKFLOW_JOBS.run_graph(command, events.append, Control())
    batch, prediction = (event for event in events if isinstance(event, NodeOutput))
    assert set(batch.arrays) == {"image", "cells", "cells_mask"} and set(prediction.arrays) == {"cells"}
    told = batch.told["image"]
    assert all(place == told for place in (*batch.told.values(), *prediction.told.values()))
    assert (told["node"], told["spacing"], told["unit"]) == ("data_loader", [2.0, 0.5, 0.25], "micrometer")
    assert told["stacked"] is True
    shape = np.array(open_memmap(batch.arrays["cells_mask"])).shape
    assert shape == (2, 8, 32, 32)
    assert all(
        0 <= at <= n - size for at, n, size in zip(told["start"], (12, 40, 48), shape[1:], strict=True)
    )
    loader = execute(graph).values["data_loader"]["train_loader"]
    loader.set_epoch(0)
    assert (told["record"], tuple(told["start"])) == (loader.specs(0)[0].record, loader.specs(0)[0].start)


def test_a_data_loader_trains_on_open_layers(data, tmp_path):
    layers = [
        {
            "id": f"im{number}",
            "image": {"kind": "file", "path": str(data / "images" / f"im{number}.tif")},
            "labels": {"cells": {"kind": "file", "path": str(data / "labels" / f"im{number}_cells.tif")}},
        }
        for number in range(3)
    ]
    graph = graph_of(experiment(**{"tr_config.num_epochs": 1}), None, str(tmp_path / "project"))
    found = execute(graph, data={"data_loader": {"layers": layers}})
    expected = train(experiment(**{"tr_config.num_epochs": 1}), {"layers": layers}, tmp_path / "api")
    assert same(weights(run_of(found)), weights(expected.path))
