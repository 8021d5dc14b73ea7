"""Twisted as a client that turns to TLS in mid-stream, as its documentation's does.

twisted_starttls_client.py PORT CERTIFICATE
"""

import sys

from twisted.internet import endpoints, protocol, reactor, ssl
from twisted.protocols.basic import LineReceiver

PORT, CERTIFICATE = int(sys.argv[1]), sys.argv[2]


class Client(LineReceiver):
    secret = False

    def connectionMade(self):
        self.sendLine(b"plain text")
        self.sendLine(b"STARTTLS")

    def lineReceived(self, line):
        print("secret" if self.secret else "open", line.decode())
        if line == b"READY":
            self.transport.startTLS(options)
            self.secret = True
            self.sendLine(b"secure text")
        elif line == b"secure text":
            self.transport.loseConnection()

    def connectionLost(self, reason):
        print("lost", reason.type.__name__)
        reactor.stop()


with open(CERTIFICATE) as file:
    authority = ssl.Certificate.loadPEM(file.read())
options = ssl.optionsForClientTLS("localhost", authority)
endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", PORT)
endpoint.connect(protocol.Factory.forProtocol(Client))
reactor.callLater(30, reactor.stop)
reactor.run()
