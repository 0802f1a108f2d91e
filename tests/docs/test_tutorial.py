"""The blocks of tutorials and how-to, executed one after the other as a reader would."""

import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page):
    """Return the language and text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


def run_console(text):
    from napari_segtrain.cli import main

    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "segtrain"
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert (stop.value.code or 0) == 0, line


def how_to_pages():
    """Return the pages of the how-to, the index first, in its order."""
    index = (DOCS / "how-to" / "README.md").read_text(encoding="utf-8")
    return [
        "how-to/README.md",
        *(f"how-to/{name}" for name in re.findall(r"^\| \[.*?\]\((.*?)\)", index, re.M)),
    ]


def run_page(page, namespace=None):
    """Execute every block of a page that is a command or Python; return Python's names."""
    namespace = {"Path": Path} if namespace is None else namespace
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), namespace)
        elif language == "console":
            run_console(text)
    return namespace


@pytest.mark.slow
def test_the_tutorial_of_coins_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = run_page("tutorials/coins.md")
    assert namespace["score"] > 0.8
    assert namespace["distance"].min() < -4
    assert (tmp_path / "predictions" / "coins_foreground.tif").is_file()
    assert (tmp_path / "project" / "runs" / "seed_1" / "config.yaml").is_file()


@pytest.mark.slow
def test_the_tutorial_of_a_volume_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = run_page("tutorials/membranes.md")
    assert namespace["score"] > 0.4
    assert (tmp_path / "tubes.zarr").is_dir()


def test_the_tutorial_of_the_seven_steps_ends_with_the_weights_of_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(DOCS / "tutorials" / "step_by_step.py"), run_name="__main__")
    *steps, last = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len([line for line in steps if line.startswith("epoch ")]) == 10
    assert last == "train() took 10 such steps: the same weights"


def test_the_tutorial_of_the_seven_steps_fails_where_weights_differ(capsys):
    source = (DOCS / "tutorials" / "step_by_step.py").read_text(encoding="utf-8")
    step = SimpleNamespace(step=1, network=torch.nn.Linear(1, 1))
    trained = {name: value + 1 for name, value in step.network.state_dict().items()}
    known = {"sys": sys, "torch": torch, "step": step, "trained": trained}
    with pytest.raises(SystemExit) as ended:
        exec(source[source.index("by_hand = ") :], known)
    assert ended.value.code == 1
    assert capsys.readouterr().out == "train() took 1 such steps: OTHER WEIGHTS\n"


def test_the_page_of_the_seven_steps_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("tutorials/step_by_step.md")
    printed = [text for language, text in blocks("tutorials/step_by_step.md") if language == "text"]
    assert capsys.readouterr().out == "".join(printed)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning")
def test_every_recipe_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"Path": Path}
    for page in how_to_pages():
        run_page(page, namespace)
    size = (32, 64, 64)
    assert namespace["shapes"] == {"blobs": size, "tubes": size, "distance": size, "direction": (3, *size)}
    names = sorted(path.name for path in (tmp_path / "project" / "runs").glob("[!.]*"))
    assert names == ["by_hand", "drawn", "first", "in_python", "lr_0.01_ema_decay_0.9", "tuned"]
    assert (tmp_path / "project" / "runs" / "by_hand" / "checkpoints" / "best.ckpt").is_file()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("dice", "distance", "direction", "torch"))


PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_index_lists_every_page():
    assert sorted(how_to_pages()) == [page for page in PAGES if page.startswith("how-to/")]


@pytest.mark.parametrize("page", [*PAGES, "../README.md", "../CONTRIBUTING.md"])
def test_every_link_of_a_page_leads_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (DOCS / page).parent.joinpath(link).exists()]
    assert missing == []


def test_every_picture_is_shown_and_small():
    pages = [(DOCS / page).read_text(encoding="utf-8") for page in [*PAGES, "../README.md"]]
    shown = set(re.findall(r"!\[[^\]]+\]\([^)]*images/([^)]+)\)", "".join(pages)))
    pictures = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert shown == set(pictures), "make screenshots writes them, and a page shows each"
    assert max(pictures.values()) <= 250_000
