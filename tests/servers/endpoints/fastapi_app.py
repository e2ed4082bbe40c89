"""An Ingest API as the documentation of FastAPI would write it."""

import hashlib
import os
import uuid

import uvicorn
from fastapi import Depends, FastAPI, File, Form, HTTPException, UploadFile
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

app = FastAPI()
security = HTTPBearer()
UPLOADS = os.environ["UPLOADS"]


def check_token(given: HTTPAuthorizationCredentials = Depends(security)):
    if given.credentials != os.environ["TOKEN"]:
        raise HTTPException(status_code=401, detail="Invalid token")


@app.post("/api/v1/chunks", dependencies=[Depends(check_token)])
async def chunks(start_ts: str = Form(), chunk_file: UploadFile = File()):
    data = await chunk_file.read()
    with open(os.path.join(UPLOADS, "received.txt"), "a") as received:
        received.write(f"{start_ts} {len(data)} {hashlib.sha256(data).hexdigest()}\n")
    return {"status": "ok", "chunk_id": str(uuid.uuid4())}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))
