#!/bin/sh
# Fills corpus/amqp_codec with the frames that the codec's tests are held against: each alone,
# and all of them as one stream. The octet in front says how the stream is cut. And fills
# corpus/store_open with small message logs, described as that target reads them.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/amqp_codec corpus/store_open
python3 - <<'PYTHON'
lines = open("../protocols/amqp/tests/data/vectors.txt").read().splitlines()
frames = [bytes.fromhex(line.split(" ")[0]) for line in lines if line[0] not in "#m"]
for number, frame in enumerate(frames):
    # As a stream, and its payload alone for what is read of payloads.
    open(f"corpus/amqp_codec/frame-{number}", "wb").write(b"\x07" + frame)
    open(f"corpus/amqp_codec/payload-{number}", "wb").write(b"\x07" + frame[7:-1])
publish = bytes.fromhex("010001" "00000009" "003c0028" "0000000000" "ce")
content = (
    publish
    + bytes.fromhex("020001" "0000000e" "003c0000" "0000000000000004" "0000" "ce")
    + bytes.fromhex("030001" "00000002" "6162" "ce")
    + bytes.fromhex("030001" "00000002" "6364" "ce")
)
open("corpus/amqp_codec/content", "wb").write(b"\x03" + content)
open("corpus/amqp_codec/stream", "wb").write(b"\x40" + b"".join(frames[:40]) + content)
PYTHON
python3 - <<'PYTHON'
from struct import pack


def message(places, payload, kind=3, persistent=1):
    places = b"".join(pack("<QQQ", queue, position, 2**64 - 1) for queue, position in places)
    return pack("<BBII", kind, persistent, 1, len(places) // 24) + places + pack("<I", len(payload)) + payload


def frame(records, flag=1):
    return pack("<BH", flag, len(records)) + records


def segment(number, previous, length, *frames):
    contents = bytes([previous, length // 8, 0, 0]) + b"".join(frames)
    return pack("<BBH", 3, number, len(contents)) + contents


# Before it nothing, one segment, and in the second case one queue with three messages, of
# which the second is gone.
empty = bytes([0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
queue = bytes([1, 3, 0, 0, 1, 1, 0, 1, 0, 2, 1, 8, 3, 1, 2, 4])
full = bytes([1, 2, 1, 1, 107, 1, 118, 1, 2, 100, 0, 50, 0, 20, 0, 1]) + queue
messages = [
    frame(message([(1, 0)], b"first")),
    frame(message([(1, 1), (2, 0)], b"second", persistent=0) + message([(1, 2)], b"third"), 5),
    frame(pack("<BI", 1, 3) + b"key" + pack("<I", 5) + b"value", 5),
    frame(pack("<BQQQ", 5, 1, 1, 1) + pack("<BQQ", 6, 1, 2), 5),
    frame(pack("<BQQI", 7, 1, 2, 9) + pack("<BQ", 8, 2) + b"\x0b", 5),
]
one = segment(1, 0, 0, frame(empty, 0), frame(b"\x0a"), *messages)
two = segment(2, 1, 512, frame(full, 0), frame(message([(1, 2)], b"third", kind=4)), *messages)
index = pack("<QII", 512, 1, 1) + pack("<QI", 1, 1) + pack("<QQIIII", 2, 2**64 - 1, 200, 5, 1, 0)
index = pack("<BBH", 2, 1, len(index)) + index
for name, files in {"one": one, "two": one + two, "index": one + index + two}.items():
    open(f"corpus/store_open/{name}", "wb").write(files)
PYTHON
