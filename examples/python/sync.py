"""Lists a company's employees, pages through its export items and uploads a
receipt. Needs nothing but Python.

    python3 sync.py receipt.pdf
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

API = os.environ.get("PLEO_API", "https://external.pleo.io")


def call(path, query=None, body=None, content_type=None):
    url = API + path
    if query:
        url += "?" + urllib.parse.urlencode(query)
    headers = {"Content-Type": content_type} if content_type else {}
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def items(path):
    """The items of every page."""
    query = {"limit": 100}
    while True:
        page = call(path, query)
        yield from page["data"]
        if not page["pagination"]["hasNextPage"]:
            return
        query["after"] = page["pagination"]["endCursor"]


def main(receipt):
    for employee in items("/v2/employees"):
        print(employee["firstName"], employee["lastName"])

    print("export items:", sum(1 for _ in items("/v3/export-items")))

    with open(receipt, "rb") as file:
        uploaded = call("/v1/receipts", body=file.read(), content_type="application/pdf")
    print("receipt:", uploaded["data"]["id"])


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code} {error.read().decode()}")
