"""The examples' task with requests, for which that library's defaults hold."""

import os
import sys

import requests

API = os.environ["PLEO_API"]
session = requests.Session()


def call(method, path, **options):
    answer = session.request(method, API + path, timeout=60, **options)
    answer.raise_for_status()
    return answer.json()


def items(path):
    query = {"limit": 100}
    while True:
        page = call("GET", path, params=query)
        yield from page["data"]
        if not page["pagination"]["hasNextPage"]:
            return
        query["after"] = page["pagination"]["endCursor"]


for employee in items("/v2/employees"):
    print(employee["firstName"], employee["lastName"])
print("export items:", sum(1 for _ in items("/v3/export-items")))
with open(sys.argv[1], "rb") as file:
    print("receipt:", call("POST", "/v1/receipts", data=file, headers={"Content-Type": "application/pdf"})["data"]["id"])
