"""Find out whether an ONNX file keeps tensor data elsewhere, without the onnx package.

Source: the protobuf wire format, and the field numbers of ``onnx.proto`` (ONNX 1.22).
"""

from __future__ import annotations

from collections.abc import Iterator

_MAX_DEPTH = 64
_MAX_FIELDS = 1_000_000  # far more than any network has; a file may be made of nothing else
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14
# Where a message of each kind may hold messages that lead to a tensor: field -> kind.
_LEADS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def has_external_data(content: bytes) -> bool:
    """Tell whether any tensor's data lies outside ``content``; true as well if it is no ONNX."""
    try:
        return not content or _scan(memoryview(content), "model", 0, iter(range(_MAX_FIELDS)))
    except ValueError:
        return True


def _scan(message: memoryview, kind: str, depth: int, left: Iterator[int]) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    for field, value in _fields(message):
        if next(left, None) is None:
            raise ValueError("too many fields")
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
            continue
        lead = _LEADS[kind].get(field)
        if lead and isinstance(value, memoryview) and _scan(value, lead, depth + 1, left):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field number and value of one message; numbers of fixed width are given as 0."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if field == 0 or key >= 1 << 32:  # other readers drop the higher bits of a key
            raise ValueError(f"key {key}")
        if wire == 0:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(message) - at:
            raise ValueError("a field runs past the end")
        yield field, message[at : at + size] if wire == 2 else 0
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number runs past the end")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number too long")
