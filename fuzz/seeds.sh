#!/bin/sh
# Fills corpus/amqp_codec with the frames that the codec's tests are held against: each alone,
# and all of them as one stream. The octet in front says how the stream is cut.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/amqp_codec
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
