from __future__ import annotations

from napari_segtrain.runs import ProcessId

WAIT = """
from napari_segtrain.runs import ProcessId
print(ProcessId.here().model_dump_json(), flush=True)
input()
"""


def test_this_process_lives() -> None:
    assert ProcessId.here().is_alive() is True


def test_a_later_process_with_the_same_number_is_another() -> None:
    here = ProcessId.here()
    assert here.replace(started=here.started - 100).is_alive() is False


def test_an_ended_process_is_dead(python) -> None:
    process = python(WAIT)
    identity = ProcessId.model_validate_json(process.stdout.readline())
    process.kill()
    # A process that nobody has waited for yet is still listed by the system.
    assert process.stdout.read() == ""
    while identity.is_alive():
        process.poll()
    assert identity.is_alive() is False


def test_another_machine_cannot_be_judged() -> None:
    assert ProcessId.here().replace(host="somewhere-else").is_alive() is None
