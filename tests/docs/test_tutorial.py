"""The tutorial's blocks, executed one after the other as a reader would."""

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


@pytest.mark.slow
def test_the_tutorial_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"Path": Path}
    found = blocks("tutorial.md")
    assert [language for language, _ in found] == ["python", "python", "console", "python", "python"] + [
        "console"
    ] * 2
    for language, text in found:
        if language == "python":
            exec(compile(text, "tutorial", "exec"), namespace)
        else:
            run_console(text)
    assert namespace["score"] > 0.8
    assert namespace["distance"].min() < -4
    assert (tmp_path / "predictions" / "coins_foreground.tif").is_file()
    assert (tmp_path / "project" / "runs" / "seed_1" / "config.yaml").is_file()


@pytest.mark.parametrize("page", ["../README.md", "tutorial.md", "explanation.md", "../CONTRIBUTING.md"])
def test_every_link_of_a_page_leads_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (DOCS / page).parent.joinpath(link).exists()]
    assert missing == []
