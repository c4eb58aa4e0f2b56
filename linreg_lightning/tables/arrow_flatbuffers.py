"""What an Arrow file says of itself and pyarrow does not tell: refused types, places of batches.

Arrow's Message.fbs, Schema.fbs and File.fbs give the fields of each table and their numbers.
"""

import struct
from collections.abc import Iterator

_INTEGER = 2  # the number of this type
_BLOCK = struct.Struct("<qi4xq")  # where a batch begins, bytes of its header and of its values


def wide_integers(flatbuffer: bytes, schema_field: int) -> dict[str, str]:
    """Return the columns with integers of more than 64 bits, such as `{"a": "Int128"}`.

    The flatbuffer has the schema as a field: a Schema message as field 2, a Footer as field 1. In a
    damaged one no column may be found.
    """
    found = {}
    try:
        schema = _follow(flatbuffer, _required(flatbuffer, _follow(flatbuffer, 0), schema_field))
        for field in _items(flatbuffer, schema, 1):
            if dtype := _wide_integer(flatbuffer, field):
                found[_text(flatbuffer, _required(flatbuffer, field, 0))] = dtype
    except (struct.error, IndexError, ValueError, RecursionError):
        pass
    return found


def batch_ranges(footer: bytes) -> list[tuple[int, int]]:
    """Return where each batch and dictionary of a file begins and ends, in their order.

    Raises:
        ValueError: the footer is damaged.
    """
    ranges = []
    try:
        table = _follow(footer, 0)
        for number in (2, 3):  # dictionaries, batches
            if place := _field(footer, table, number):
                vector = _follow(footer, place)
                for k in range(_number(footer, vector)):
                    begin, header, body = _BLOCK.unpack_from(footer, vector + 4 + _BLOCK.size * k)
                    ranges.append((begin, begin + header + body))
    except struct.error as error:
        raise ValueError(str(error)) from None
    return sorted(ranges)


def _wide_integer(text: bytes, field: int) -> str:
    """Return the type of a field or of one within it, if it is a wide integer, else nothing."""
    if text[_required(text, field, 2)] == _INTEGER:
        integer = _follow(text, _required(text, field, 3))
        bits = _number(text, _required(text, integer, 0))
        sign = _field(text, integer, 1)
        is_signed = sign != 0 and text[sign] != 0
        return f"{'' if is_signed else 'U'}Int{bits}" if bits > 64 else ""
    types = (_wide_integer(text, child) for child in _items(text, field, 5))
    return next(filter(None, types), "")


def _number(text: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", text, place)[0])


def _follow(text: bytes, place: int) -> int:
    return place + _number(text, place)


def _field(text: bytes, table: int, number: int) -> int:
    """Return where a table holds a field; 0 if it is left out, which means a default value."""
    layout = table - int(struct.unpack_from("<i", text, table)[0])
    size, slot = int(struct.unpack_from("<H", text, layout)[0]), 4 + 2 * number
    offset = int(struct.unpack_from("<H", text, layout + slot)[0]) if slot < size else 0
    return table + offset if offset else 0


def _required(text: bytes, table: int, number: int) -> int:
    place = _field(text, table, number)
    if place == 0:
        raise ValueError(f"field {number} is missing")
    return place


def _items(text: bytes, table: int, number: int) -> Iterator[int]:
    """Yield the tables of a field that is a list of them."""
    if place := _field(text, table, number):
        vector = _follow(text, place)
        for k in range(_number(text, vector)):
            yield _follow(text, vector + 4 + 4 * k)


def _text(text: bytes, place: int) -> str:
    start = _follow(text, place)
    return text[start + 4 : start + 4 + _number(text, start)].decode()
