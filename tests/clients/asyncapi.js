// AsyncAPI's own parser reads docs/asyncapi.yaml: what it refuses, or only warns of, is a mistake there.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

const source = "docs/asyncapi.yaml";
new Parser().parse(readFileSync(source, "utf8"), { source }).then(({ document, diagnostics }) => {
  for (const found of diagnostics) console.error(`${source}: ${found.path.join(".")}: ${found.message}`);
  if (!document || diagnostics.length > 0) process.exit(1);
  console.log(`ok: AsyncAPI's parser takes ${source}`);
});
