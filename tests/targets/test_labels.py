import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segtrain.config import TargetConfig, TargetFacts
from napari_segtrain.targets import background_value, class_indices, label_masks


def masks(labels, facts=None, **settings):
    foreground, labelled = label_masks(np.asarray(labels), TargetConfig(**settings), facts)
    return foreground.tolist(), labelled.tolist()


def test_zero_is_background_unless_it_means_unlabelled():
    assert masks([0, 1, 2], kind="binary") == ([False, True, True], [True, True, True])
    assert masks([0, 1, 2], kind="binary", unlabelled=0) == ([False, False, True], [False, True, True])
    assert masks([0, 1, 255], kind="binary", unlabelled=255) == ([False, True, False], [True, True, False])


def test_the_smallest_painted_value_is_background_of_scribbles():
    facts = TargetFacts(values=(0, 5, 7))
    assert masks([0, 5, 7], facts, kind="binary", unlabelled=0) == ([False, False, True], [False, True, True])
    assert background_value(TargetConfig(unlabelled=0), facts) == 5
    assert background_value(TargetConfig(unlabelled=0)) == 1
    assert background_value(TargetConfig(unlabelled=3), facts) == 0


def test_values_say_what_is_foreground():
    assert masks([0, 1, 2, 3], kind="binary", values=(2, 3))[0] == [False, False, True, True]
    assert masks([0, 1, 2, 3], kind="classes", values=(1, 3))[0] == [False, False, False, True]
    assert masks([0, 1, 2, 3], kind="binary", values=(2, 3), unlabelled=3)[0] == [False, False, True, False]


def test_measured_values_count_where_finite():
    target = TargetConfig(kind="regression", unlabelled=-1)
    values = np.array([[0.0, 2.0, np.nan, -1.0]])
    foreground, labelled = label_masks(values, target)
    assert labelled.tolist() == [True, True, False, False]
    assert foreground.tolist() == [False, True, False, False]
    volume = np.ones((2, 3, 4))
    assert label_masks(volume, target)[1].shape == (3, 4)
    assert label_masks(volume, target, ndim=3)[1].shape == (2, 3, 4)


@given(
    labels=hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64]),
        st.integers(1, 20),
        elements=st.integers(0, 120),
    ),
    values=st.lists(st.one_of(st.integers(-50, 120), st.just(10**7)), min_size=1, max_size=6, unique=True),
)
def test_class_indices_are_positions_in_the_list(labels, values):
    found = class_indices(labels, tuple(values), others=-1)
    assert found.dtype == np.int64
    assert found.tolist() == [values.index(v) if v in values else -1 for v in labels.tolist()]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
def test_values_far_from_the_list_are_others(dtype):
    huge = np.array([np.iinfo(dtype).max, 2], dtype)
    assert class_indices(huge, (0, 2), others=9).tolist() == [9, 1]
