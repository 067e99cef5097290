"""A chat client that survives restarts of the server: python3 first_client.py ws://127.0.0.1:8000 alice.key lobby
It sends the lines of standard input. Packages: websockets, cryptography."""
import asyncio, base64, contextlib, hashlib, json, os, random, struct, sys, threading, time, uuid
from urllib.parse import urlsplit
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

UNCOUNTED = {"connected", "pong", "server_draining", "presence", "history", "synced"}  # docs/protocol/resume.md
STOP_CLOSES = {1002, 1003, 1007, 4001, *range(4300, 4400)}  # docs/protocol/codes.md
STOP_CODES = {"revoked", "registration_closed", "totp_required", "invalid_totp", "invalid_key", "bad_request"}

def key_from(path):  # created at the first start; if the file is lost, so is the account
    if not os.path.exists(path):
        with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(os.urandom(32))
    return Ed25519PrivateKey.from_private_bytes(open(path, "rb").read())

def statement(context, *fields):  # the signed bytes: docs/protocol/signing.md
    return context + b"\0" + b"".join(struct.pack(">I", len(field)) + field for field in fields)

class Client:
    def __init__(self, url, key, room):
        self.url, self.key, self.room = url, key, room
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        # A registered device: (device, id) is unique, so a message that is sent twice is stored once.
        self.device = "py-" + hashlib.sha256(self.public).hexdigest()[:16]
        self.socket = self.resume_token = None
        self.unanswered = {}  # requests by id, in the order sent
        self.received = self.confirmed = self.cursor = 0  # counted messages; the last number seen in the room

    async def run(self):
        bound = 0.5
        while True:
            began, self.retry_after, self.refusal = time.monotonic(), None, None
            try:
                async with websockets.connect(self.url + "/v1/connect", ping_interval=20, ping_timeout=20) as socket:
                    await self.serve(socket)
            except websockets.InvalidHandshake as error:  # no upgrade: 429 and 503 say when to try again
                answer = getattr(error, "response", error)  # newer and older versions of the package
                why = f"refused with {getattr(answer, 'status_code', error)}"
                self.retry_after = float(getattr(answer, "headers", {}).get("Retry-After", 0))
            except websockets.ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                why = f"closed with {code}"
                if code in STOP_CLOSES or self.refusal in STOP_CODES:
                    sys.exit(f"{why}: {self.refusal or closed.rcvd.reason}")  # 4300: docs/protocol/doors.md
            except (OSError, asyncio.TimeoutError) as error:
                why = f"no connection: {error}"
            self.socket = None
            bound = 0.5 if time.monotonic() - began > 30 else min(bound * 2, 30)
            wait = (self.retry_after or 0) + random.uniform(0, bound)
            print(f"{why}; again in {wait:.1f} s", file=sys.stderr, flush=True)
            await asyncio.sleep(wait)

    async def serve(self, socket):
        told = time.monotonic()
        while True:
            frame = {"type": "pong"}
            with contextlib.suppress(asyncio.TimeoutError):
                frame = json.loads(await asyncio.wait_for(socket.recv(), 3))
            names_a_close = frame["type"] == "error" and "close" in frame["payload"]
            self.received += self.socket is not None and frame["type"] not in UNCOUNTED and not names_a_close
            self.refusal = frame.get("code", self.refusal)  # of an auth_failure
            if handler := getattr(self, "on_" + frame["type"], None):  # unknown types are ignored
                await handler(frame, socket)
            if self.received - self.confirmed >= 32 or self.received > self.confirmed and time.monotonic() - told > 3:
                self.confirmed, told = self.received, time.monotonic()
                await socket.send(json.dumps({"type": "received", "count": self.received}))

    async def ask(self, kind, **fields):
        request = {"type": kind, "id": uuid.uuid4().hex, "room": self.room, **fields}
        self.unanswered[request["id"]] = request
        if self.socket:
            await self.socket.send(json.dumps(request))

    async def ask_history(self):
        if "history" not in [request["type"] for request in self.unanswered.values()]:
            await self.ask("history", since_seq=self.cursor)

    async def on_auth_challenge(self, frame, socket):
        host = urlsplit(self.url).netloc
        if frame["audience"] != host or frame["expires_at_ms"] > time.time() * 1000 + 120_000:
            sys.exit(f"the server at {host} shows a challenge for {frame['audience']}")
        data = statement(b"aldis/v1/auth-challenge", host.encode(), b"ws", base64.b64decode(frame["challenge"]),
                         self.public, self.device.encode(), struct.pack(">Q", frame["expires_at_ms"]))
        proof = {"type": "auth_response", "public_key": base64.b64encode(self.public).decode(),
                 "signature": base64.b64encode(self.key.sign(data)).decode(), "device_id": self.device}
        if self.resume_token:
            proof["resume"] = {"token": self.resume_token, "received": self.received}
        await socket.send(json.dumps(proof))

    async def on_connected(self, frame, socket):
        session, again = frame["session"], list(self.unanswered.values())
        self.socket, self.resume_token = socket, session["resume_token"]
        print("resumed" if session["resumed"] else "connected", file=sys.stderr, flush=True)
        if not session["resumed"]:  # a fresh session: join again, and ask for what was missed
            self.received = self.confirmed = 0
            again = [request for request in again if request["type"] == "chat_message"]
            self.unanswered = {request["id"]: request for request in again}
            await self.ask("join")
            await self.ask_history()
        for request in again:  # with the same ids: nothing is stored twice
            await socket.send(json.dumps(request))

    async def on_ack(self, frame, socket):
        request = self.unanswered.pop(frame.get("id"), {})
        if request.get("type") == "chat_message":
            await self.show(frame["seq"], "me", request["payload"])

    async def on_chat_message(self, frame, socket=None):
        await self.show(frame["seq"], frame["sender_user_id"], frame["payload"])

    async def show(self, seq, sender, payload):
        if seq == self.cursor + 1:  # the cursor never skips a number
            self.cursor = seq
            print(f"{seq} {sender}: {payload['content']}", flush=True)
        elif seq > self.cursor:
            await self.ask_history()

    async def on_history(self, frame, socket):
        asked = self.unanswered.pop(frame["id"], {"since_seq": 0})
        restored = frame.get("last_seq", self.cursor) < asked["since_seq"]  # the server has an older backup
        self.cursor = frame["first_seq"] - 1 if restored else max(self.cursor, frame["first_seq"] - 1)
        for message in frame["messages"]:
            await self.on_chat_message(message)
        if restored or not frame["complete"]:
            await self.ask_history()

    async def on_error(self, frame, socket):
        error, request = frame["payload"], self.unanswered.get(frame.get("id"))
        self.retry_after = error.get("retry_after")
        if request and error["code"] in ("rate_limited", "unavailable"):  # it was not carried out: try again
            await asyncio.sleep(self.retry_after or 1)
            await socket.send(json.dumps(request))
        elif request:
            sys.exit(f"{request['type']}: {error['code']}: {error['message']}")

async def main(url, key_file, room):
    client, loop = Client(url, key_from(key_file), room), asyncio.get_running_loop()
    def read():
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(client.ask("chat_message", payload={"content": line.strip()}), loop)
    threading.Thread(target=read, daemon=True).start()
    await client.run()

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
