"""Python's own TLS as a client of an echo server: each version, each way to end.

ssl_client.py PORT CERTIFICATE
"""

import socket
import ssl
import sys

PORT, CERTIFICATE = int(sys.argv[1]), sys.argv[2]
DATA = bytes(range(256)) * 4096  # a mebibyte


def connect(version, session=None):
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.minimum_version = context.maximum_version = version
    raw = socket.create_connection(("127.0.0.1", PORT), 20)
    return context, context.wrap_socket(raw, server_hostname="localhost")


def exchange(stream, data):
    """Sends all, and reads as much back, with no more under way than buffers hold."""
    back = bytearray()
    for start in range(0, len(data), 50_000):
        stream.sendall(data[start : start + 50_000])
        while len(back) < min(start + 50_000, len(data)):
            back += stream.recv(65536)
    return bytes(back)


for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    _, stream = connect(version)
    assert exchange(stream, DATA) == DATA, version
    print(stream.version(), stream.cipher()[0])
    # The end in both directions, told in TLS; what comes then would be plain again.
    raw = stream.unwrap()
    assert raw.recv(1) == b"", "and then the end of the connection"
    raw.close()

# Sessions are resumed: tickets of TLS 1.3 come after the handshake, so something is read first.
context, stream = connect(ssl.TLSVersion.TLSv1_3)
exchange(stream, b"for a ticket")
session = stream.session
stream.unwrap().close()
raw = socket.create_connection(("127.0.0.1", PORT), 20)
stream = context.wrap_socket(raw, server_hostname="localhost", session=session)
exchange(stream, b"again")
print("resumed", stream.session_reused)

# Trust counts: without the authority there is no connection.
try:
    context = ssl.create_default_context()
    context.wrap_socket(
        socket.create_connection(("127.0.0.1", PORT), 20), server_hostname="localhost"
    )
except ssl.SSLCertVerificationError as error:
    print("refused", error.verify_message)

# Many small writes, and one byte at a time.
_, stream = connect(ssl.TLSVersion.TLSv1_3)
for byte in b"bytewise":
    stream.sendall(bytes([byte]))
back = b""
while len(back) < 8:
    back += stream.recv(100)
print(back.decode())
