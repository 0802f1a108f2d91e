from __future__ import annotations

import itertools

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import RunState, check_move

ALLOWED = {
    ("pending", "running"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "interrupted"),
    ("failed", "pending"),
    ("failed", "running"),
    ("interrupted", "pending"),
    ("interrupted", "running"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RunState, RunState)))
@pytest.mark.parametrize("extend", [False, True])
def test_exactly_the_moves_of_a_run_are_allowed(old: RunState, new: RunState, extend: bool) -> None:
    allowed = (old.value, new.value) in ALLOWED or (extend and (old, new) == ("completed", "running"))
    if allowed:
        check_move(old, new, extend=extend)
    else:
        with pytest.raises(RunError, match=f"a run that is {old} cannot become {new}; after {old} comes"):
            check_move(old, new, extend=extend)
