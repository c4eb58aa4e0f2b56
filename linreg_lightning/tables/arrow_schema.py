"""Names the columns of an Arrow schema that pyarrow refuses, which it does without their names."""

import struct
from collections.abc import Iterator

_INTEGER = 2  # the number of this type in Arrow's Schema.fbs


def columns_of_wide_integers(message: bytes) -> dict[str, str]:
    """Return the columns that hold integers of more than 64 bits, with their types.

    `message` is the metadata of a schema message: a flatbuffer as in Arrow's Message.fbs. There
    are no such columns in a damaged one.
    """
    try:
        schema = _follow(message, _field(message, _follow(message, 0), 2))
        found = {}
        for field in _items(message, _field(message, schema, 1)):
            if dtype := _wide_integer(message, field):
                found[_text(message, _field(message, field, 0))] = dtype
        return found
    except (struct.error, ValueError, RecursionError):
        return {}


def _wide_integer(message: bytes, field: int) -> str:
    """Return the type of a field or of one within it, such as Int128; empty if there is none."""
    if message[_field(message, field, 2)] == _INTEGER:
        integer = _follow(message, _field(message, field, 3))
        bits = struct.unpack_from("<i", message, _field(message, integer, 0))[0]
        try:
            is_signed = bool(message[_field(message, integer, 1)])
        except ValueError:
            is_signed = False
        return f"{'' if is_signed else 'U'}Int{bits}" if bits > 64 else ""
    try:
        children = list(_items(message, _field(message, field, 5)))
    except ValueError:
        return ""
    return next(filter(None, (_wide_integer(message, child) for child in children)), "")


def _follow(message: bytes, place: int) -> int:
    return place + int(struct.unpack_from("<I", message, place)[0])


def _field(message: bytes, table: int, number: int) -> int:
    """Return where a table holds a field; raise ValueError if it has the default value."""
    layout = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, layout)[0]
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", message, layout + slot)[0] if slot < size else 0
    if offset == 0:
        raise ValueError(number)
    return int(table + offset)


def _items(message: bytes, place: int) -> Iterator[int]:
    vector = _follow(message, place)
    count = struct.unpack_from("<I", message, vector)[0]
    for k in range(count):
        yield _follow(message, vector + 4 + 4 * k)


def _text(message: bytes, place: int) -> str:
    start = _follow(message, place)
    size = struct.unpack_from("<I", message, start)[0]
    return message[start + 4 : start + 4 + size].decode()
