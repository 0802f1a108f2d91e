from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def segtrain_data() -> Path:
    folder = os.environ.get("SEGTRAIN_DATA")
    if not folder:
        pytest.skip("SEGTRAIN_DATA does not name the folder of the labelled data sets")
    return Path(folder)
