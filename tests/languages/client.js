// A service as they are: reads its config when it is told to, and logs in.
const fs = require("fs");
const http = require("http");
const [config, url] = process.argv.slice(2);

function login() {
  const { username, password } = JSON.parse(fs.readFileSync(config, "utf8")).database;
  const pair = Buffer.from(`${username}:${password}`).toString("base64");
  http.get(url, { headers: { Authorization: `Basic ${pair}` } }, (response) => {
    console.log(response.statusCode);
    response.resume();
  });
}

require("readline").createInterface({ input: process.stdin }).on("line", login);
