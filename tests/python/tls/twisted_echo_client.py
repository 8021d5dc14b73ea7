"""Twisted as a client of an echo server over TLS: it says a line, hears it again, and closes.

twisted_echo_client.py PORT CERTIFICATE
"""

import sys

from twisted.internet import endpoints, protocol, reactor, ssl

PORT, CERTIFICATE = int(sys.argv[1]), sys.argv[2]


class Echo(protocol.Protocol):
    def connectionMade(self):
        self.heard = b""
        self.transport.write(b"hello, ")
        self.transport.write(b"world")

    def dataReceived(self, data):
        self.heard += data
        if self.heard == b"hello, world":
            print("heard", self.heard.decode())
            self.transport.loseConnection()

    def connectionLost(self, reason):
        print("lost", reason.type.__name__)
        reactor.stop()


with open(CERTIFICATE) as file:
    authority = ssl.Certificate.loadPEM(file.read())
options = ssl.optionsForClientTLS("localhost", authority)
endpoint = endpoints.SSL4ClientEndpoint(reactor, "127.0.0.1", PORT, options)
endpoint.connect(protocol.Factory.forProtocol(Echo))
reactor.callLater(30, reactor.stop)
reactor.run()
