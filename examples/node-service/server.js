// A service as one writes it: a token from `.env`, settings from `config.json`, read when they are needed.
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");

const server = createServer((request, response) => {
    if (request.headers.authorization !== `Bearer ${process.env.API_TOKEN}`) {
        response.writeHead(401).end("who are you?\n");
        return;
    }
    const { database } = JSON.parse(readFileSync("config.json", "utf8"));
    const hash = createHash("sha256").update(database.password).digest("hex").slice(0, 8);
    response.end(`${database.user} logs in with the password whose hash is ${hash}\n`);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
