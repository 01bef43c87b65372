// Env files as node's dotenv reads them. In and out as in python_dotenv.py.
const { parse } = require("dotenv");
const read = (document) => {
  const parsed = parse(Buffer.from(document, "base64").toString("utf8"));
  return Object.fromEntries(Object.entries(parsed).map(([k, v]) => [k, Buffer.from(v).toString("base64")]));
};
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(input.map(read)));
