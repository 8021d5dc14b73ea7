"""A forward proxy on Python's http.server, which wants a user and a password.

proxy.py USER:PASSWORD
"""

import base64
import http.client
import http.server
import socket
import sys
import threading
import urllib.parse

wanted = "Basic " + base64.b64encode(sys.argv[1].encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def allowed(self):
        if self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_GET(self):
        if not self.allowed():
            return
        url = urllib.parse.urlsplit(self.path)
        assert url.scheme == "http" and url.netloc == self.headers["Host"], self.path
        server = http.client.HTTPConnection(url.netloc, timeout=20)
        server.request("GET", url.path)
        answer = server.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Via", "1.1 python")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        if not self.allowed():
            return
        host, port = self.path.rsplit(":", 1)
        server = socket.create_connection((host, int(port)), 20)
        self.send_response(200)
        self.end_headers()

        def pump(source, sink):
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        back = threading.Thread(target=pump, args=(server, self.connection), daemon=True)
        back.start()
        pump(self.connection, server)
        back.join()
        self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("listening", server.server_address[1], flush=True)
server.serve_forever()
