"""Calls Pleo through the proxy with nothing but urllib, and prints what came of it."""

import base64
import json
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

base, uploaded = sys.argv[1], sys.argv[2]


def call(path, method="GET", data=None, headers={}):
    request = urllib.request.Request(base + path, data=data, method=method, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:  # urllib's way with a 304, too
        return error


def stream():
    began, rows, first = time.monotonic(), 0, 0
    with call("/v1/export-stream?rows=5&interval=200ms") as response:
        for _ in response:
            rows += 1
            first = first or time.monotonic() - began
    return {"rows": rows, "first": first, "whole": time.monotonic() - began}


def read(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def echo(message):
    """urllib knows no WebSocket: this is what a library for it does."""
    target = urllib.parse.urlsplit(base)
    key = base64.b64encode(b"0123456789abcdef").decode()
    with socket.create_connection((target.hostname, target.port), timeout=60) as sock:
        sock.sendall(
            f"GET /v1/echo-socket HTTP/1.1\r\nHost: {target.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read(sock, 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            return head.decode()
        mask = b"\x01\x02\x03\x04"
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(message.encode()))
        sock.sendall(b"\x81" + bytes([0x80 | len(masked)]) + mask + masked)
        return read(sock, 2 + len(masked))[2:].decode()


with open(uploaded, "rb") as file:
    body = file.read()
employees = call("/v2/employees")
etag = employees.headers["ETag"]
head = call("/v2/employees", method="HEAD")
unchanged = call("/v2/employees", headers={"If-None-Match": etag})
print(json.dumps({
    "employees": len(json.load(employees)["data"]),
    "upload": json.load(call("/v1/receipts", method="POST", data=body, headers={"Content-Type": "application/pdf"}))["data"],
    "stream": stream(),
    "search": len(json.load(call("/v3/export-job-items:search", method="POST", data=b"{}", headers={"Content-Type": "application/json"}))["data"]),
    "rawPath": json.load(call("/v1/receipts/a%2Fb%20c"))["data"]["rawPath"],
    "head": {"status": head.status, "length": len(head.read()), "type": head.headers["Content-Type"]},
    "unchanged": {"status": unchanged.status, "length": len(unchanged.read())},
    "echo": echo("hello, Pleo"),
}))
