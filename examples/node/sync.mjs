// Lists a company's employees, pages through its export items and uploads a
// receipt. Needs nothing but Node 18 or later.
//
//   node sync.mjs receipt.pdf

import { readFile } from "node:fs/promises";

const api = process.env.PLEO_API ?? "https://external.pleo.io";

async function call(path, options) {
  const answer = await fetch(api + path, options);
  if (!answer.ok) {
    throw new Error(`${answer.status} ${await answer.text()}`);
  }
  return answer.json();
}

// The items of every page.
async function* items(path) {
  const query = new URLSearchParams({ limit: "100" });
  for (;;) {
    const { data, pagination } = await call(`${path}?${query}`);
    yield* data;
    if (!pagination.hasNextPage) {
      return;
    }
    query.set("after", pagination.endCursor);
  }
}

for await (const { firstName, lastName } of items("/v2/employees")) {
  console.log(firstName, lastName);
}

let count = 0;
for await (const _ of items("/v3/export-items")) {
  count++;
}
console.log("export items:", count);

const { data: receipt } = await call("/v1/receipts", {
  method: "POST",
  headers: { "Content-Type": "application/pdf" },
  body: await readFile(process.argv[2]),
});
console.log("receipt:", receipt.id);
