"""Kernel errors: kinds for the program, text for people."""

import pickle

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError


def test_the_text_names_what_it_is_about():
    assert str(KernelError(ErrorKind.BUSY, "held by kubelet (pid 7)", "xtables lock")) == "xtables lock: held by kubelet (pid 7)"
    assert str(KernelError(ErrorKind.OTHER, "no reason given")) == "no reason given"


@pytest.mark.parametrize("kind", ErrorKind)
def test_an_error_is_passing_or_refused_or_neither(kind):
    error = KernelError(kind, "text")
    assert error.transient == (kind in {ErrorKind.BUSY, ErrorKind.TIMEOUT})
    assert error.refused == (kind in {ErrorKind.INVALID, ErrorKind.UNSUPPORTED, ErrorKind.TOO_BIG})
    assert not (error.transient and error.refused)


def test_an_error_survives_pickling():
    error = pickle.loads(pickle.dumps(KernelError(ErrorKind.DENIED, "not root", "iptables-restore")))
    assert (error.kind, error.text, error.subject) == (ErrorKind.DENIED, "not root", "iptables-restore")
