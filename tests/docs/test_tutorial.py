"""The blocks of tutorial and how-to, executed one after the other as a reader would."""

import re
import shlex
from pathlib import Path

import pytest

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


def run_page(page):
    """Execute every block of a page that is a command or Python; return Python's names."""
    namespace = {"Path": Path}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), namespace)
        elif language == "console":
            run_console(text)
    return namespace


@pytest.mark.slow
def test_the_tutorial_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = run_page("tutorial.md")
    assert namespace["score"] > 0.8
    assert namespace["distance"].min() < -4
    assert (tmp_path / "predictions" / "coins_foreground.tif").is_file()
    assert (tmp_path / "project" / "runs" / "seed_1" / "config.yaml").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning")
def test_every_recipe_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = run_page("how-to.md")
    size = (32, 64, 64)
    assert namespace["shapes"] == {"blobs": size, "tubes": size, "distance": size, "direction": (3, *size)}
    names = sorted(path.name for path in (tmp_path / "project" / "runs").glob("[!.]*"))
    assert names == ["by_hand", "first", "lr_0.01_ema_decay_0.9"]
    assert (tmp_path / "project" / "runs" / "by_hand" / "checkpoints" / "best.ckpt").is_file()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("dice", "distance", "direction", "torch"))


@pytest.mark.parametrize(
    "page", ["../README.md", "tutorial.md", "how-to.md", "explanation.md", "docks.md", "../CONTRIBUTING.md"]
)
def test_every_link_of_a_page_leads_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (DOCS / page).parent.joinpath(link).exists()]
    assert missing == []
