"""An Ingest API as the documentation of Flask would write it."""

import hashlib
import os
import uuid

from flask import Flask, abort, request

app = Flask(__name__)
UPLOADS = os.environ["UPLOADS"]


@app.post("/api/v1/chunks")
def chunks():
    if request.headers.get("Authorization") != f"Bearer {os.environ['TOKEN']}":
        abort(401)
    start_ts = request.form["start_ts"]
    data = request.files["chunk_file"].read()
    with open(os.path.join(UPLOADS, "received.txt"), "a") as received:
        received.write(f"{start_ts} {len(data)} {hashlib.sha256(data).hexdigest()}\n")
    return {"status": "ok", "chunk_id": str(uuid.uuid4())}


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]), threaded=True)
