#!/usr/bin/env python3
"""Writes vectors.txt: frames as two other implementations encode them, and what they say.

    python3 -m venv venv && venv/bin/pip install pika==1.4.4 pamqp==4.0.1
    venv/bin/python generate_vectors.py > vectors.txt

A line that begins with "method" names a method and the types of its arguments. Any other is a
frame in hexadecimal, a blank, and its contents as Rust's `{:?}` shows ours.
pika encodes every method, and pamqp all it has (it lacks the class access); where both do, they
have to agree, or this fails. The field tables differ, because the two choose other letters for
the same numbers. Letters that neither writes (B, L, d) are tested by hand-made vectors.
"""

import datetime
import decimal
import re

import pamqp.commands
import pamqp.encode
import pamqp.frame
import pamqp.header
import pika.frame
import pika.spec

ACCESS = {
    "Access.Request": [
        ("realm", "shortstr"), ("exclusive", "bit"), ("passive", "bit"),
        ("active", "bit"), ("write", "bit"), ("read", "bit"),
    ],
    "Access.RequestOk": [("ticket", "short")],
}
PIKA_NAMES = {"exchange_type": "type", "global_": "global_qos"}
OUR_NAMES = {"global_": "global"}
SECRETS = {"Connection.StartOk.response", "Connection.SecureOk.response",
           "Connection.UpdateSecret.new_secret"}
NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)
NOON_SHOWN = "Timestamp(1795348800)"

# As Python has them, and as we show what pika and what pamqp make of them.
VALUES = [
    ("bool", True, "Bool(true)", "Bool(true)"),
    ("tiny", -7, "LongInt(-7)", "ShortShortInt(-7)"),
    ("small", -3000, "LongInt(-3000)", "ShortInt(-3000)"),
    ("unsigned-small", 40000, "LongInt(40000)", "ShortUint(40000)"),
    ("int", -100000, "LongInt(-100000)", "LongInt(-100000)"),
    ("unsigned-int", 4000000000, "LongLongInt(4000000000)", "LongUint(4000000000)"),
    ("long", -(1 << 60), f"LongLongInt({-(1 << 60)})", f"LongLongInt({-(1 << 60)})"),
    ("float", 0.15625, None, "Float(0.15625)"),
    ("decimal", decimal.Decimal("3.14"), "Decimal { scale: 2, value: 314 }",
     "Decimal { scale: 2, value: 314 }"),
    ("text", "h\u00e9llo", 'LongStr("h\u00e9llo")', 'LongStr("h\u00e9llo")'),
    ("time", NOON, NOON_SHOWN, NOON_SHOWN),
    ("void", None, "Void", "Void"),
    ("bytes", b"\x00\xff", "ByteArray([0, 255])", None),
    ("octets", bytearray(b"\x00\xff"), None, "ByteArray([0, 255])"),
    ("array", [], "Array([])", "Array([])"),
    ("array2", [1, "x", [True], {"k": None}],
     'Array([LongInt(1), LongStr("x"), Array([Bool(true)]), Table({"k": Void})])',
     'Array([ShortShortInt(1), LongStr("x"), Array([Bool(true)]), Table({"k": Void})])'),
    ("table", {}, "Table({})", "Table({})"),
    ("table2", {"inner": {"innermost": "x"}},
     'Table({"inner": Table({"innermost": LongStr("x")})})',
     'Table({"inner": Table({"innermost": LongStr("x")})})'),
]


def tables():
    """Pairs of a table and how we show what (pika, pamqp) make of it."""
    for which in (2, 3):
        fields = [value for value in VALUES if value[which] is not None]
        if which == 3:
            fields.sort()  # as pamqp does with a table's
        table = {field[0]: field[1] for field in fields}
        yield table, "{" + ", ".join(f'"{field[0]}": {field[which]}' for field in fields) + "}"


def value_of(kind, name, index, round_):
    """A value of its own for each field: (Python's, ours shown); round 1 is the empty one."""
    if kind == "bit":
        bit = (index + round_) % 2 == 0
        return bit, str(bit).lower()
    if kind in ("shortstr", "longstr"):
        text = f"the-{name}" if round_ == 0 else ""
        return text, f'"{text}"'
    if kind == "table":
        return ({"k": "v"}, '{"k": LongStr("v")}') if round_ == 0 else ({}, "{}")
    octets = {"octet": 1, "short": 2, "long": 4, "longlong": 8}[kind]
    number = sum((16 * (index % 15 + 1) + at) << (8 * at) for at in range(octets))
    if round_ == 1:
        number = 0
    if kind == "longlong":
        number &= (1 << 63) - 1  # pamqp takes these for signed
    return number, str(number)


def variant_of(name):
    return name.replace(".", "")


def struct_of(name):
    return name.split(".")[1]


PAMQP_CLASSES = {cls.name: cls for cls in pamqp.commands.INDEX_MAPPING.values()}


def signatures():
    for _, cls in sorted(pika.spec.methods.items()):
        if cls.NAME in ACCESS:
            yield cls, ACCESS[cls.NAME]
        else:
            other = PAMQP_CLASSES[cls.NAME]
            yield cls, [(attr, other.amqp_type(attr)) for attr in other.attributes()]


def wire_name(name):
    """connection.start-ok for Connection.StartOk."""
    class_, method = name.split(".")
    return class_.lower() + "." + re.sub("(?<!^)([A-Z])", r"-\1", method).lower()


def method_lines():
    for cls, arguments in signatures():
        number = cls.INDEX
        shape = "content" if pika.spec.has_content(number) else "plain"
        shape = "sync" if cls(*[None] * len(arguments)).synchronous else shape
        kinds = " ".join(kind for _, kind in arguments)
        yield f"method {number >> 16} {number & 0xffff} {wire_name(cls.NAME)} {shape} {kinds}".strip()


def methods():
    for cls, arguments in signatures():
        name = cls.NAME
        for round_ in (0, 1) if arguments else (0,):
            values, shown = {}, []
            for index, (argument, kind) in enumerate(arguments):
                values[argument], text = value_of(kind, argument, index, round_)
                if f"{name}.{argument}" in SECRETS:
                    text = f"<{len(values[argument])} octets>"
                shown.append(f"{OUR_NAMES.get(argument, argument)}: {text}")
            channel = 0 if name.startswith("Connection.") else 258
            theirs = cls(**{PIKA_NAMES.get(key, key): value for key, value in values.items()})
            encoded = pika.frame.Method(channel, theirs).marshal()
            if name in PAMQP_CLASSES:
                # It insists on empty reserved fields, which are none the less on the wire.
                unchecked = {"validate": lambda _: None}
                other = object.__new__(type(name, (PAMQP_CLASSES[name],), unchecked))
                for argument, value in values.items():
                    setattr(other, argument, value)
                assert pamqp.frame.marshal(other, channel) == encoded, name
            body = " { " + ", ".join(shown) + " }" if shown else ""
            yield encoded, f"{variant_of(name)}({struct_of(name)}{body})"


PROPERTIES = [(attr, pamqp.commands.Basic.Properties.amqp_type(attr))
              for attr in pamqp.commands.Basic.Properties.attributes()]


def property_sets():
    """Each property alone, none, all; and all the kinds of values in the headers."""
    everything = {}
    for index, (name, kind) in enumerate(PROPERTIES):
        if kind == "table":
            value = {"k": "v"}, '{"k": LongStr("v")}'
        elif kind == "timestamp":
            value = NOON, "1795348800"
        else:
            value = value_of(kind, name, index, 0)
        everything[name] = value
        yield {name: value}
    yield {}
    yield everything


def headers():
    number = 0
    for chosen in property_sets():
        number += 1
        size = (1 << 40) + number
        shown = ", ".join(
            f"{name}: Some({chosen[name][1]})" if name in chosen else f"{name}: None"
            for name, _ in PROPERTIES)
        values = {name: value for name, (value, _) in chosen.items()}
        yield both_headers(size, values), f"{size} BasicProperties {{ {shown} }}"
    for which, (table, shown) in enumerate(tables()):
        rest = ", ".join(f"{name}: " + (f"Some({shown})" if name == "headers" else "None")
                         for name, _ in PROPERTIES)
        make = (pika_header, pamqp_header)[which]
        yield make(5, {"headers": table}), f"5 BasicProperties {{ {rest} }}"


def pika_header(size, values):
    theirs = {"message_type": "type"}
    values = {theirs.get(name, name): value for name, value in values.items()}
    if "timestamp" in values:
        values["timestamp"] = int(values["timestamp"].timestamp())
    return pika.frame.Header(258, size, pika.spec.BasicProperties(**values)).marshal()


def pamqp_header(size, values):
    properties = pamqp.commands.Basic.Properties()
    for name, value in values.items():
        setattr(properties, name, value)
    return pamqp.frame.marshal(pamqp.header.ContentHeader(0, size, properties), 258)


def both_headers(size, values):
    encoded = pika_header(size, values)
    assert encoded == pamqp_header(size, values), values
    return encoded


def main():
    print("# Made by generate_vectors.py with pika 1.4.4 and pamqp 4.0.1.")
    print(*method_lines(), sep="\n")
    for encoded, shown in [*methods(), *headers()]:
        print(encoded.hex(), shown)
    print(pika.frame.Body(258, b"body").marshal().hex(), 'Body "body"')
    print(pika.frame.Heartbeat().marshal().hex(), "Heartbeat")


main()
