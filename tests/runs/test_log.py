from __future__ import annotations

import logging

from napari_segtrain.runs import RunFolder, log_to


def test_the_log_has_what_was_said_and_tracebacks(run: RunFolder) -> None:
    log = logging.getLogger("napari_segtrain.training")
    log.info("before")
    for word in ("first", "second"):
        with log_to(run):
            log.info("the %s part", word)
            try:
                raise ZeroDivisionError("no")
            except ZeroDivisionError:
                log.exception("it failed")
    log.info("after")
    text = run.log_path.read_text()
    assert "before" not in text
    assert "after" not in text
    assert "INFO napari_segtrain.training: the first part" in text
    assert "the second part" in text
    assert text.count("Traceback (most recent call last)") == 2
    assert logging.getLogger("napari_segtrain").handlers == []
