from __future__ import annotations

from pathlib import Path

import pytest

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
