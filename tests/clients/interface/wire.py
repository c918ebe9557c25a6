"""Protobuf bytes without generated code: taken apart and put together by a table of fields.

The table's lines are `package message field number label type …`, those of enums `package enum value number`.
"""

import struct

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NUMBERS = {"int32", "int64", "uint32", "uint64", "bool"}


class Wrong(Exception):
    """Bytes that are not what the table says."""


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def split(data):
    """(field number, wire type, value) of every field, in order."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = read_varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind)
            if size is None:
                if kind != BYTES:
                    raise Wrong("wire type %d" % kind)
                size, at = read_varint(data, at)
            value = bytes(data[at:at + size])
            if len(value) != size:
                raise Wrong("cut short")
            at += size
        yield tag >> 3, kind, value


class Table:
    def __init__(self, fields, enums):
        self.messages = {}
        for package, message, field, number, label, kind in rows(fields, 6):
            known = self.messages.setdefault(package + "." + message, {})
            if field:
                known[field] = (int(number), label, kind)
        self.enums = {}
        for package, enum, value, number in rows(enums, 4):
            self.enums.setdefault(package + "." + enum, {})[value] = int(number)

    def build(self, kind, value):
        """The bytes of message `kind`: a dict of fields by name; what is bytes already is taken as it is."""
        if isinstance(value, bytes):
            return value
        out = b""
        for name, item in value.items():
            number, label, of = self.messages[kind][name]
            for one in item if label == "repeated" else [item]:
                out += self.field(number, of, one)
        return out

    def field(self, number, kind, value):
        if kind in self.enums:
            return varint(number << 3 | VARINT) + varint(self.enums[kind][value])
        if kind in NUMBERS:
            return varint(number << 3 | VARINT) + varint(int(value))
        if kind == "double":
            return varint(number << 3 | FIXED64) + struct.pack("<d", value)
        if kind == "string":
            value = value.encode()
        elif kind != "bytes":
            value = self.build(kind, value)
        return varint(number << 3 | BYTES) + varint(len(value)) + value

    def scalar(self, kind, wire, value):
        """A field's value as JSON has it; bytes stay bytes."""
        expect = VARINT if kind in NUMBERS or kind in self.enums else FIXED64 if kind == "double" else BYTES
        if wire != expect:
            raise Wrong("%s has wire type %d" % (kind, wire))
        if kind in self.enums:
            for name, number in self.enums[kind].items():
                if number == value:
                    return name
            raise Wrong("%s has no value %d" % (kind, value))
        if kind == "bool":
            return bool(value)
        if kind in NUMBERS:
            return value - (1 << 64) if value >> 63 and kind.startswith("int") else value
        if kind == "double":
            return struct.unpack("<d", value)[0]
        return value.decode() if kind == "string" else value


def rows(path, columns):
    with open(path, encoding="utf-8") as file:
        for line in list(file)[1:]:
            yield (line.rstrip("\n").split("\t") + [""] * columns)[:columns]
