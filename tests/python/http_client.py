"""What httpx does with a server of forms and events: http_client.py URL SIZE"""

import io
import sys

import httpx

url, size = sys.argv[1], int(sys.argv[2])


class Letters(io.BytesIO):
    """A file whose length is not known: the form goes out in chunks."""

    def tell(self, *_):
        raise io.UnsupportedOperation

    seek = fileno = tell


def letters(count):
    return bytes(ord("a") + at % 26 for at in range(count))


with httpx.Client(base_url=url) as client:
    fields = {"title": "Boats & ships \N{SNOWMAN}", "tags": ["one", "two"]}
    print(client.post("/form", data=fields).text)
    small = ("a \"b\" \N{SNOWMAN}.txt", b"hello", "text/plain")
    large = ("large.bin", letters(size))
    files = [("file", small), ("file", large), ("empty", ("nothing", b""))]
    print(client.post("/form", data=fields, files=files).text)
    print(client.post("/form", files={"file": ("unknown", Letters(letters(size)))}).text)
    print(client.post("/form", content=b"{}", headers={"Content-Type": "a/b"}).text.strip())
    # The same connection goes on behind a refusal.
    print(client.post("/form", data={"title": "again"}).text)

    with client.stream("GET", "/events") as stream:
        print(stream.status_code, stream.headers["content-type"])
        with httpx.Client(base_url=url) as other:
            for said in ["first", "second\nline"]:
                print(other.post("/say", content=said.encode()).text)
        lines = stream.iter_lines()
        for _ in range(7):
            print(repr(next(lines)))
    with client.stream("GET", "/events", headers={"Last-Event-ID": "1"}) as stream:
        lines = stream.iter_lines()
        for _ in range(4):
            print(repr(next(lines)))
