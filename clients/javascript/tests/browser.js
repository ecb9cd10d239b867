// The driver of the JavaScript client in a page in headless Chromium: `node browser.js JSON`.
//
// The nodes are of another origin than the page; Chromium is told not to mind, as those
// of the conformance program know nothing of origins.

import { Page } from "./chromium.js";

const SCRIPT = `
  import { perform } from "/tests/calls.js";
  const lines = [];
  const tell = (failure) => fetch("/told", { method: "POST", body: JSON.stringify({ failure, lines }) });
  try {
    await perform(await (await fetch("/task")).json(), (line) => lines.push(line));
    await tell("");
  } catch (error) {
    await tell(String(error.stack));
  }`;

let page;
const { failure, lines } = await new Promise((resolve, reject) => {
  Page.serve(SCRIPT, resolve)
    .then((served) => {
      page = served;
      return page.open(JSON.parse(process.argv[2]), ["--disable-web-security"]);
    })
    .catch(reject);
});
await page.close();
for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
if (failure) {
  process.stderr.write(`${failure}\n`);
  process.exitCode = 1;
}
