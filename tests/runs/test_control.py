from __future__ import annotations

import signal
import threading
import time

import pytest

from napari_segtrain.runs import Control, Event, LabelChange, Paused, PreviewHint, Resumed


def change(start: int, target: str = "nuclei") -> LabelChange:
    return LabelChange(record="cells", target=target, start=(start, 0), stop=(start + 2, 3))


def test_a_new_control_asks_for_nothing() -> None:
    control = Control()
    said: list[Event] = []
    assert control.wait_while_paused(said.append)
    assert (control.stopped, control.paused, control.stop_reason, said) == (False, False, "", [])
    assert control.take_labels() == []
    assert control.hint is None


def test_the_first_reason_of_a_stop_is_kept() -> None:
    control = Control()
    control.stop("parent_gone")
    control.stop()
    assert control.stopped
    assert control.stop_reason == "parent_gone"
    assert not control.wait_while_paused()


def in_thread(control: Control) -> tuple[threading.Thread, list[Event], list[bool]]:
    said: list[Event] = []
    went_on: list[bool] = []
    thread = threading.Thread(target=lambda: went_on.append(control.wait_while_paused(said.append)))
    thread.start()
    return thread, said, went_on


@pytest.mark.parametrize("end", ["resume", "stop"])
def test_a_paused_job_waits_until_it_may_go_on(end: str) -> None:
    control = Control()
    control.pause()
    thread, said, went_on = in_thread(control)
    thread.join(0.15)
    assert thread.is_alive()
    assert [type(event) for event in said] == [Paused]
    getattr(control, end)()
    thread.join(2)
    assert went_on == [end == "resume"]
    assert [type(event) for event in said] == ([Paused, Resumed] if end == "resume" else [Paused])
    assert not control.paused


def test_there_is_no_pause_after_a_stop() -> None:
    control = Control()
    control.stop()
    control.pause()
    assert not control.paused


def test_a_signal_handler_may_stop_a_paused_job() -> None:
    control = Control()
    control.pause()
    before = signal.signal(signal.SIGALRM, lambda number, frame: control.stop("stopped"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert not control.wait_while_paused()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_painted_blocks_are_taken_once_in_order_without_repetition() -> None:
    control = Control()
    for number in (5, 1, 5, 3, 1):
        control.change_labels(change(number))
    assert control.take_labels() == [change(5), change(1), change(3)]
    assert control.take_labels() == []


def test_no_painted_block_is_lost_between_threads() -> None:
    control, taken = Control(), []

    def paint() -> None:
        for number in range(300):
            control.change_labels(change(number))
            if number % 50 == 0:
                time.sleep(0)

    painter = threading.Thread(target=paint)
    painter.start()
    while painter.is_alive():
        taken += control.take_labels()
    painter.join()
    taken += control.take_labels()
    assert taken == [change(number) for number in range(300)]


def test_only_the_last_look_counts() -> None:
    control = Control()
    first, second = (PreviewHint(record="a", start=(n,), stop=(n + 1,)) for n in (0, 1))
    control.look_at(first)
    control.look_at(second)
    assert control.hint == second
    control.look_at(None)
    assert control.hint is None


@pytest.mark.parametrize(
    ("start", "stop"), [((0,), (1, 2)), ((0, 3), (2, 3)), ((-1, 0), (2, 2)), ((3, 0), (2, 2))]
)
def test_a_block_without_voxels_is_refused(start: tuple[int, ...], stop: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="start"):
        PreviewHint(record="a", start=start, stop=stop)
