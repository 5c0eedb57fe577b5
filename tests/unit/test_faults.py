"""The handler of guarded reads: faults of programs are mended, all others go where they went before."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal

import pytest

from runtime.jit.local import agent

BAD = 8  # nothing is mapped there
OWN_STATUS = 42


def child(install_handler: bool) -> None:
    faulthandler.disable()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    turn, read = agent().function("fault_handler", 1), agent().function("load_8", 1)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: os._exit(OWN_STATUS))
    if install_handler:
        ctypes.CDLL(None).signal(signal.SIGSEGV, handler)
    for state in (1, 1, 0, 1):  # switching on twice must not make the handler its own predecessor
        turn(state)
    target = ctypes.create_string_buffer(b"x" * 32)
    place = ctypes.addressof(target)
    good = read(BAD) == 0 and agent().function("probe_read", 3)(place, 16, BAD) == -14
    good &= agent().function("probe_read_str", 3)(place + 16, 16, BAD) == -14
    if not good or target.raw[:17] != bytes(17):
        os._exit(1)
    ctypes.string_at(BAD + 8)
    os._exit(2)


@pytest.mark.parametrize(("own", "status"), [(False, -signal.SIGSEGV), (True, OWN_STATUS)])
def test_faults_of_the_application_keep_their_meaning(own, status):
    pid = os.fork()
    if not pid:
        child(own)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status


@pytest.mark.parametrize("by_fault", [0, 1])
def test_strings_are_read_up_to_their_end_or_their_page(by_fault):
    agent().function("fault_handler", 1)(by_fault)
    try:
        read = agent().function("probe_read_str", 3)
        target = ctypes.create_string_buffer(64)
        for text in (b"", b"a", b"1234567", b"12345678", b"a longer string of 31 characters"):
            source = ctypes.create_string_buffer(text)
            assert read(ctypes.addressof(target), 64, ctypes.addressof(source)) == len(text) + 1
            assert target.value == text
        assert read(ctypes.addressof(target), 5, ctypes.addressof(source)) == 5
        assert target.value == b"a lo"
        assert read(ctypes.addressof(target), 0, ctypes.addressof(source)) == 0
    finally:
        agent().function("fault_handler", 1)(0)


@pytest.mark.parametrize("blocked", [False, True])
def test_bad_pointers_need_no_handler(blocked):
    """An application may replace our handler, or block the signal: a pointer to nothing must not kill it."""
    pid = os.fork()
    if not pid:
        agent().function("fault_handler", 1)(1)
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        if blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
        place = ctypes.addressof(ctypes.create_string_buffer(64))
        for bad in (0, 1, 8, 4095, 4096, 1 << 40, 1 << 47, (1 << 64) - 8):
            if agent().function("load_8", 1)(bad) != 0:
                os._exit(1)
            if agent().function("probe_read", 3)(place, 16, bad) != -14:
                os._exit(2)
            if agent().function("probe_read_str", 3)(place, 16, bad) != -14:
                os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
