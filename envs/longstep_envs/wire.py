"""Frames between the pool and its workers: a length, then ASCII JSON. No pickle comes back."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from longstep_envs.types import ContractError

MAX_FRAME = 64 * 2**20
"""Bytes; what is larger is a fault of the environment, not a value."""

_LENGTH = struct.Struct(">I")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def encode(message: Any) -> bytes:
    """One frame. ASCII escapes carry every str, lone surrogates included.

    Raises:
        ContractError: the message is too large or is not JSON.
    """
    try:
        body = _ENCODER.encode(message).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ContractError(f"a value cannot leave its process as JSON: {error}") from error
    if len(body) > MAX_FRAME:
        raise ContractError(f"a value of {len(body)} bytes is too large; at most {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Takes bytes as they come and gives back whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes.

        Raises:
            ContractError: the bytes are not frames.
        """
        self._buffer += data
        messages, start = [], 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                raise ContractError(f"a frame claims {length} bytes; at most {MAX_FRAME}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            try:
                text = self._buffer[start + _LENGTH.size : end].decode("ascii")
                messages.append(_DECODER.decode(text))
            except (ValueError, RecursionError) as error:
                raise ContractError(f"a frame is not JSON: {error}") from error
            start = end
        del self._buffer[:start]
        return messages


class FrameCounter:
    """How many frames there are in bytes that come in parts; it does not look into them."""

    def __init__(self) -> None:
        self.whole = 0
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Count the frames that `data` completes."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest, start)
            if len(self._rest) - start < _LENGTH.size + length:
                break
            start += _LENGTH.size + length
            self.whole += 1
        del self._rest[:start]


def receive(connection: socket.socket, decoder: Decoder) -> list[Any]:
    """Block for the next messages; an empty list means that the other side has closed."""
    while True:
        data = connection.recv(2**16)
        messages = decoder.feed(data) if data else []
        if messages or not data:
            return messages
