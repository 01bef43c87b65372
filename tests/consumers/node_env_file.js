// Env files as node itself reads them (--env-file). In and out as in python_dotenv.py.
const { parseEnv } = require("util");
const read = (document) => {
  const parsed = parseEnv(Buffer.from(document, "base64").toString("utf8"));
  return Object.fromEntries(Object.entries(parsed).map(([k, v]) => [k, Buffer.from(v).toString("base64")]));
};
if (!parseEnv) throw new Error("node 20.12 or newer is needed: ./tests/run installs it");
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(input.map(read)));
