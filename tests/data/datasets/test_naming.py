"""Names of label files are read the way they were built."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.data.naming import match_names

words = st.text("ab_1", min_size=1, max_size=5).filter(lambda w: w.strip("_") == w)


@given(st.sets(words, min_size=1, max_size=4), st.sets(words, min_size=1, max_size=3))
def test_known_targets_are_found_on_every_image(ids: set[str], targets: set[str]) -> None:
    built = {f"{i}_{t}": (i, t) for i in ids for t in targets}
    matched = match_names(list(built), ids, targets)
    for name, (owner, target) in built.items():
        found = matched[name]
        assert found is not None and "_".join(found) == name
        assert found[1] in targets and len(found[0]) >= len(owner)
        if len(found[0]) == len(owner):
            assert found == (owner, target)


@given(words, words)
def test_one_image_leaves_no_doubt(image: str, target: str) -> None:
    assert match_names([f"{image}_{target}"], {image}) == {f"{image}_{target}": (image, target)}
    assert match_names([image], {image}, exact_first=True) == {image: (image, "")}
    assert match_names([f"x{image}_{target}"], {image}) == {f"x{image}_{target}": None}


def test_a_target_that_is_sure_elsewhere_wins() -> None:
    matched = match_names(["x_b_c", "a_b_c"], {"x", "a", "a_b"})
    assert matched == {"x_b_c": ("x", "b_c"), "a_b_c": ("a", "b_c")}


def test_a_mask_named_like_an_image_is_that_images() -> None:
    assert match_names(["a_b"], {"a", "a_b"}, exact_first=True)["a_b"] == ("a_b", "")
    assert match_names(["a_b"], {"a", "a_b"})["a_b"] == ("a", "b")
