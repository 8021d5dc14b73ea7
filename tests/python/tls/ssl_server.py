"""A server of Python's own TLS: answers one line with the same line, or with a part of it and no end.

ssl_server.py CERTIFICATE KEY VERSION END
"""

import socket
import ssl
import sys

certificate, key, version, end = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
listener = socket.create_server(("127.0.0.1", 0))
print("listening", listener.getsockname()[1], flush=True)
raw, _ = listener.accept()
raw.settimeout(20)
stream = context.wrap_socket(raw, server_side=True)
line = b""
while not line.endswith(b"\n"):
    line += stream.recv(100)
if end == "close_notify":
    stream.sendall(line)
    stream.unwrap().close()
else:
    stream.sendall(line[:3])
    stream.close()  # without a word: Python says close_notify only when it is asked to
