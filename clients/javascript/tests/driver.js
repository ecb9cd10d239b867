// The driver of the JavaScript client for the conformance program: `node driver.js JSON`.

import { Mirror } from "../src/mirror.js";
import { perform } from "./calls.js";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function mirrorOf(client, { path, keep, rebuild, ...follow }) {
  const onPage = (db, page) => {
    const insert = db.prepare("INSERT INTO seen VALUES (?)");
    for (const change of page.changes) insert.run(change.id);
  };
  const onReset = (db, reset) => {
    db.exec("DELETE FROM seen");
    db.prepare("INSERT INTO resets VALUES (?)").run(reset.code);
  };
  const mirror = await Mirror.open(path, { ...follow, keep, rebuild, onPage, onReset });
  mirror.db.exec("CREATE TABLE IF NOT EXISTS seen (id INTEGER); CREATE TABLE IF NOT EXISTS resets (code TEXT)");
  return mirror.pages(client);
}

await perform(JSON.parse(process.argv[2]), say, mirrorOf);
