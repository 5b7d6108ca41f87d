"""The filter of system calls, run by a small interpreter of its language."""

import errno
import struct

import pytest

from longstep_envs.sandbox.seccomp import filter_program

X86, ARM = 0xC000003E, 0xC00000B7
ALLOWED, KILLED = 0x7FFF0000, 0x80000000


def verdict(machine: str, audit: int, number: int, first: int = 0, second: int = 0) -> int:
    """What the filter says of a call."""
    lines = list(struct.iter_unpack("<HBBI", filter_program(machine)))
    call = struct.pack("<IIQQQ", number, audit, 0, first, second)
    value, at = 0, 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", call, operand)
        elif code == 0x06:
            return int(operand)
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: value & operand}[code]
            at += if_true if holds else if_false


def fails(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.case(35)
@pytest.mark.parametrize(
    ("number", "first", "expected"),
    [
        (0, 0, ALLOWED),  # read
        (59, 0, ALLOWED),  # execve
        (165, 0, fails(errno.EPERM)),  # mount
        (101, 0, fails(errno.EPERM)),  # ptrace
        (272, 0, fails(errno.EPERM)),  # unshare
        (435, 0, fails(errno.ENOSYS)),  # clone3
        (56, 0x11, ALLOWED),  # clone as fork does
        (56, 0x003D0F00, ALLOWED),  # clone as threads are made
        (56, 0x10000011, fails(errno.EPERM)),  # clone into a user namespace
        (302, 0, ALLOWED),  # prlimit64 of itself
        (302, 1, fails(errno.EPERM)),
        (41, 1, ALLOWED),  # socket of Unix
        (41, 2, ALLOWED),
        (41, 16, ALLOWED),
        (41, 40, fails(errno.EAFNOSUPPORT)),  # of a virtual machine
        (41, 38, fails(errno.EAFNOSUPPORT)),  # of the kernel's cryptography
        (0x40000000 + 165, 0, fails(errno.ENOSYS)),  # the other way to number calls
        (467, 0, ALLOWED),
    ],
)
def test_calls_on_x86(number: int, first: int, expected: int) -> None:
    assert verdict("x86_64", X86, number, first) == expected


@pytest.mark.parametrize(
    ("number", "first", "expected"),
    [
        (63, 0, ALLOWED),
        (40, 0, fails(errno.EPERM)),
        (220, 0x11, ALLOWED),
        (220, 0x20000011, fails(errno.EPERM)),
        (198, 40, fails(errno.EAFNOSUPPORT)),
        (198, 10, ALLOWED),
        (261, 7, fails(errno.EPERM)),
    ],
)
def test_calls_on_arm(number: int, first: int, expected: int) -> None:
    assert verdict("aarch64", ARM, number, first) == expected


@pytest.mark.parametrize(
    ("machine", "audit", "call"), [("x86_64", X86, 141), ("aarch64", ARM, 140)]
)
def test_a_priority_is_set_of_itself_only(machine: str, audit: int, call: int) -> None:
    assert verdict(machine, audit, call, 0, 0) == ALLOWED
    assert verdict(machine, audit, call, 0, 1) == fails(errno.EPERM)
    assert verdict(machine, audit, call, 2, 0) == fails(errno.EPERM)


def test_calls_of_another_architecture_end_the_process() -> None:
    assert verdict("x86_64", 0x40000003, 11) == KILLED


def test_an_unknown_machine_has_no_filter() -> None:
    assert filter_program("riscv64") == b""
