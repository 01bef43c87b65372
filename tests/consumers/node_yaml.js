// YAML as node programs read it; takes the package. In as in python_dotenv.py; out: what each document holds.
const { load } = require("js-yaml");
const { parse } = require("yaml");
const parser = { "js-yaml": load, yaml: (text) => parse(text, { logLevel: "silent" }) }[process.argv[2]];
const read = (document) => {
  try {
    return parser(Buffer.from(document, "base64").toString("utf8")) ?? null;
  } catch {
    return null;
  }
};
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(input.map(read)));
