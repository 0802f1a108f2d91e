import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_is_the_schemas():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == module.reference(), "run python tools/make_reference.py"
