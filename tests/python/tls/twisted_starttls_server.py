"""Twisted as a server that turns to TLS in mid-stream, and answers each line with the same line.

twisted_starttls_server.py CERTIFICATE KEY
"""

import sys

from twisted.internet import protocol, reactor, ssl
from twisted.protocols.basic import LineReceiver


class Server(LineReceiver):
    def lineReceived(self, line):
        if line == b"STARTTLS":
            self.sendLine(b"READY")
            self.transport.startTLS(options)
        else:
            self.sendLine(line)


with open(sys.argv[1]) as certificate, open(sys.argv[2]) as key:
    pair = ssl.PrivateCertificate.loadPEM(certificate.read() + key.read())
options = pair.options()
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
print("listening", port.getHost().port, flush=True)
reactor.callLater(60, reactor.stop)
reactor.run()
