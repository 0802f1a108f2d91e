from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QFileDialog, QMenu

from napari_segtrain.widgets.forms.path_edit import PathEdit

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


@pytest.mark.parametrize(
    ("path", "text"),
    [(Path.home() / "a" / "b", str(Path("~/a/b"))), (Path("/x/y"), str(Path("/x/y"))), (None, "")],
)
def test_the_home_folder_is_a_tilde_and_comes_back_as_a_path(path: Path | None, text: str) -> None:
    edit = PathEdit("project", "")
    edit.set_value(path)
    assert edit.line.text() == text
    assert edit.value() == path


def test_either_a_folder_or_a_file_is_looked_for(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "run"))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "best.ckpt"), ""))
    edit = PathEdit("run", "", "any")
    qtbot.addWidget(edit)
    for place, wanted in enumerate(("run", "best.ckpt")):
        edit.browse.click()
        [menu] = [menu for menu in edit.findChildren(QMenu) if menu.isVisible()]
        menu.actions()[place].trigger()
        menu.close()
        assert edit.value() == tmp_path / wanted
