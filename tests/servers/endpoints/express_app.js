// An Ingest API as the documentation of Express and of multer would write it.

const { createHash, randomUUID } = require("node:crypto");
const { appendFileSync, readFileSync } = require("node:fs");
const express = require("express");
const multer = require("multer");

const app = express();
const upload = multer({ dest: process.env.UPLOADS });

function checkToken(request, response, next) {
  if (request.get("authorization") === `Bearer ${process.env.TOKEN}`) return next();
  response.status(401).json({ error: "invalid token" });
}

app.post("/api/v1/chunks", checkToken, upload.single("chunk_file"), (request, response) => {
  if (request.file === undefined) return response.status(400).json({ error: "no chunk_file" });
  const data = readFileSync(request.file.path);
  const hash = createHash("sha256").update(data).digest("hex");
  const line = `${request.body.start_ts} ${data.length} ${hash}\n`;
  appendFileSync(`${process.env.UPLOADS}/received.txt`, line);
  response.json({ status: "ok", chunk_id: randomUUID() });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
