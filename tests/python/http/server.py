"""Python's http.server, with TLS if it is given a certificate and a key, and pages of each framing.

server.py HTTP/1.1 [CERTIFICATE KEY]
"""

import gzip
import http.server
import ssl
import sys
import zlib

version, *files = sys.argv[1:]
LINES = b"".join(b"%07d\n" % number for number in range(100_000))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = version

    def answer(self, body, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        coding = self.headers.get("Accept-Encoding", "")
        match self.path:
            case "/lines":
                self.answer(LINES)
            case "/chunked":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for start in range(0, len(LINES), 7777):
                    chunk = LINES[start : start + 7777]
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.write(b"0\r\nX-Sum: 1\r\n\r\n")
            case "/until-close":
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(LINES)
            case "/gzip" if "gzip" in coding:
                self.answer(gzip.compress(LINES), Content_Encoding="gzip")
            case "/deflate" if "deflate" in coding:
                self.answer(zlib.compress(LINES), Content_Encoding="deflate")
            case "/away":
                self.answer(b"elsewhere", 302, Location="/cookie", Set_Cookie="id=7")
            case "/cookie":
                self.answer(self.headers.get("Cookie", "none").encode())
            case "/peer":
                self.answer(b"%d" % self.client_address[1])
            case "/last":
                self.answer(b"%d" % self.client_address[1])
                self.close_connection = True  # and it does not say so
            case _:
                self.send_error(404)

    do_HEAD = do_GET

    def do_PUT(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                assert self.rfile.readline() == b"\r\n"
            assert self.rfile.readline() == b"\r\n"
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if files:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", server.server_address[1], flush=True)
server.serve_forever()
