"""``segtrain workflow``."""

import json
from pathlib import Path

import pytest

from napari_segtrain.config import ExperimentConfig, dump_config, load_config
from napari_segtrain.workflow.graph import read_graph, template, write_graph


@pytest.fixture
def train_file(tmp_path):
    return write_graph(tmp_path / "train.json", template("train"))


SMALL = (
    *("--set", "data_loader.patch_size=[32, 32]", "--set", "data_loader.batch_size=1"),
    *("--set", "data_loader.steps_per_epoch=1", "--set", "data_loader.val_steps=1"),
    *("--set", "unet_model.base_features=4", "--set", "unet_model.max_poolings=1"),
    *("--set", "optimizer.optimizer.lr=0.01", "--set", "trainer.num_epochs=1", "--set", "trainer.device=cpu"),
    *("--set", "trainer.evaluate_after=none", "--set", "trainer.debug_pictures=0"),
)


def test_a_graph_is_made_checked_trained_and_predicted_with(run, disc_folder, tmp_path):
    data, project = disc_folder(), tmp_path / "P"
    files = {name: tmp_path / f"{name}.json" for name in ("train", "predict", "evaluate")}
    for name, file in files.items():
        assert run("workflow", "new", name, "-o", file)[0] == 0
    given = ("--set", f"data_loader.data={data}", "--set", f"trainer.project={project}", *SMALL)
    code, out, _ = run("workflow", "check", files["train"], *given)
    assert code == 0
    assert "yes  a trainer" in out
    assert "a graph for training, 5 nodes, 5 links" in out
    code, out, _ = run("workflow", "run", files["train"], *given)
    assert code == 0
    folder = project / "runs" / "base"
    assert f"trainer.metrics: {folder}" in out.replace("\n", "")
    config = load_config(folder / "config.yaml")
    assert (config.tr_config.optimizer.lr, config.network.base_features) == (0.01, 4)
    code, out, _ = run("workflow", "run", files["train"], *given)
    assert (code, [line for line in out.splitlines() if "Epoch" in line]) == (0, [])
    assert "trainer  cached" in out
    image = data / "images" / "im0.tif"
    given = (f"checkpoint_loader.run={folder}", f"image_layer.image={image}")
    options = [word for text in given for word in ("--set", text)]
    code, out, _ = run("workflow", "run", files["predict"], *options, "-o", tmp_path / "found")
    assert code == 0
    assert (tmp_path / "found" / "im0_cells.tif").is_file()
    options += ["--set", f"predictor.save_to={tmp_path / 'saved'}"]
    code, out, _ = run("workflow", "run", files["predict"], *options)
    assert (code, "written nowhere" in out) == (0, False)
    assert (tmp_path / "saved" / "im0_cells.tif").is_file()
    options = ("--set", given[0], "--set", f"data_loader.data={data}")
    code, out, _ = run("workflow", "run", files["evaluate"], *options)
    assert code == 0
    assert "metrics.metrics: cells  dice 0." in out
    assert "written nowhere" not in out
    code, out, _ = run(
        "workflow", "run", files["evaluate"], *options, "--only", "metrics", "--only", "predictor"
    )
    assert code == 0
    assert "Note: the prediction of node 'predictor' would be written nowhere: say where with -o" in out
    assert "metrics.metrics: cells  dice 0." in out


@pytest.mark.parametrize(("name", "node"), [("predict", "predictor"), ("direct", "checkpoint_loader")])
def test_a_prediction_that_nothing_would_keep_is_refused_before_it_is_made(run, tmp_path, name, node):
    file = Path(__file__).parents[2] / "examples" / "workflows" / f"{name}.json"
    given = ("--set", f"checkpoint_loader.run={tmp_path / 'run'}", "--set", "image_layer.image=here.tif")
    code, out, err = run("workflow", "run", file, *given)
    said = " ".join((out + err).split())
    assert code == 2
    assert f"the prediction of node '{node}' would be written nowhere: say where with -o FOLDER" in said
    assert "save_to" in said
    assert "checkpoint_loader'" not in said or node == "checkpoint_loader"  # its run is not there
    code, out, err = run("workflow", "run", file, *given, "-o", tmp_path / "found")
    assert code == 2
    assert "written nowhere" not in out + err


def test_networks_that_are_only_loaded_need_no_folder(run, tmp_path):
    file = write_graph(tmp_path / "predict.json", template("predict"))
    given = ("--set", f"checkpoint_loader.run={tmp_path / 'run'}", "--only", "checkpoint_loader")
    code, out, err = run("workflow", "run", file, *given)
    assert code == 2
    assert "written nowhere" not in out + err


def test_losses_have_short_names(run, train_file, disc_folder, tmp_path):
    target = "data_loader.targets={cells: {kind: regression}}"
    given = (
        "--set",
        f"data_loader.data={disc_folder()}",
        "--set",
        f"trainer.project={tmp_path / 'P'}",
        *SMALL,
    )
    loss = ("--set", target, "--set", "loss_function.losses=[mse]")
    assert run("workflow", "run", train_file, *given, *loss)[0] == 0
    config = load_config(tmp_path / "P" / "runs" / "base" / "config.yaml")
    assert [term.name for term in config.dataset_config.targets["cells"].losses] == ["MSELoss"]


def test_an_experiment_becomes_a_graph_and_back(run, tmp_path):
    file, graph, back = (tmp_path / name for name in ("a.yaml", "a.json", "b.yaml"))
    config = ExperimentConfig().with_overrides({"tr_setup.seed": 7, "model_config.architecture": "vnet"})
    file.write_text(dump_config(config))
    assert run("workflow", "from-config", file, "-o", graph, "-i", "cells", "--project", "P")[0] == 0
    assert read_graph(graph).node("data_loader").config.data == "cells"
    assert run("workflow", "to-config", graph, "-o", back)[0] == 0
    assert load_config(back) == config
    losses = ("--set", "loss_function.losses=[DiceLoss]")
    code, _, err = run("workflow", "to-config", graph, "-o", back, *losses)
    assert code == 2
    assert "an experiment has no key for losses of every target" in err


def test_what_is_wrong_is_listed_and_nothing_runs(run, train_file, tmp_path):
    values = json.loads(train_file.read_text())
    values["links"] = values["links"][1:-1]
    train_file.write_text(json.dumps(values))
    for command in ("check", "run"):
        code, out, err = run("workflow", command, train_file)
        assert code == 2
        assert "Required input 'dataloader' on node 'trainer' is not connected" in err
        assert "Required input 'optimizer' on node 'trainer' is not connected" in err
        assert "Parameter 'data' on node 'data_loader' is not set" in out
    code, _, err = run("workflow", "check", train_file, "--set", "trainer.epochs=3")
    assert code == 2
    assert "epochs: unknown key" in err
    code, _, err = run("workflow", "check", train_file, "--set", "trainr.num_epochs=3")
    assert "Did you mean 'trainer'" in err


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_parameters_of_a_node_are_set_together(run, train_file, tmp_path, order):
    texts = (
        "data_loader.folds=5",
        "data_loader.fold=1",
        "optimizer.optimizer.lr=0.5",
        "optimizer.optimizer.weight_decay=0.25",
    )
    given = [word for number in order for word in ("--set", texts[number])]
    file = tmp_path / "back.yaml"
    assert run("workflow", "to-config", train_file, "-o", file, *given)[0] == 0
    config = load_config(file)
    assert (config.tr_setup.folds, config.tr_setup.fold) == (5, 1)
    optimizer = config.tr_config.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("AdamW", 0.5, 0.25)
    code, _, err = run("workflow", "check", train_file, "--set", "folds=5")
    assert code == 2
    assert "write node.parameter=value, such as trainer.num_epochs=10" in " ".join(err.split())
