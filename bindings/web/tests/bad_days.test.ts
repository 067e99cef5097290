/** Servers, functions and times that are as bad as they get. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { after, afterEach, test } from "node:test";
import {
  type AldisError, Client, ConnectionError, OptionError, RequestError, SignedOutError, TokenError, type Why, connect, generateKey, open,
} from "@aldis/client";
import { CONNECTED, Scripted, type Peer } from "./scripted.js";
import { until } from "./server.js";

const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
after(() => assert.deepEqual(unhandled, []));

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const FAST = { token: () => "a token", connectTimeout: 2_000, longestWait: 500 } as const;

async function serve(script: (peer: Peer, number: number) => unknown): Promise<Scripted> {
  const server = await Scripted.start(script);
  ends.push(() => server.end());
  return server;
}

async function opened(url: string, options: Parameters<typeof open>[1] = FAST): Promise<Client> {
  const client = await open(url, options);
  ends.push(() => client.close());
  return client;
}

/** The first reason that the client is told for not being connected. */
function firstWhy(client: Client): Promise<Why> {
  return new Promise((resolve) => {
    client.on("state", (_, why) => {
      if (why !== undefined) resolve(why);
    });
  });
}

for (const [name, garbage] of [
  ["text that is no JSON", (peer: Peer) => peer.socket.send("\u0000{]")],
  ["JSON that is no frame", (peer: Peer) => peer.socket.send("[[[[1]]]]")],
  ["a frame without members", (peer: Peer) => peer.socket.send('{"type":"connected"}')],
  ["an empty message", (peer: Peer) => peer.socket.send("")],
  ["a binary frame", (peer: Peer) => peer.socket.send(Buffer.from([0, 255]))],
  ["a frame of a megabyte", (peer: Peer) => peer.socket.send("x".repeat(1 << 20))],
] as const) {
  test(`garbage, ${name}: before, during and after the handshake`, async () => {
    const server = await serve(async (peer, number) => {
      if (number === 1) return void garbage(peer), peer.socket.close(1011);
      await peer.hears("auth");
      if (number === 2) return void garbage(peer), peer.socket.close(1011);
      peer.say(CONNECTED);
      if (number === 3) return void garbage(peer), peer.socket.close(1011);
    });
    const client = await opened(server.url);
    await until("a fourth connection that lasts", () => server.connections >= 4 && client.state === "connected");
  });
}

test("a server that closes at every step, with and without a word", async () => {
  const steps: ((peer: Peer) => unknown)[] = [
    (peer) => peer.socket.terminate(),
    (peer) => peer.socket.close(1012),
    async (peer) => (await peer.hears("auth"), peer.socket.terminate()),
    async (peer) => (await peer.hears("auth"), peer.socket.close(1013)),
    async (peer) => (await peer.greets(), peer.socket.terminate()),
    async (peer) => (await peer.greets(), peer.socket.close(4101)),
  ];
  const server = await serve((peer, number) => (steps[number - 1] ?? ((it: Peer) => it.greets()))(peer));
  const client = await opened(server.url);
  await until("the last step", () => server.connections > steps.length && client.state === "connected");
});

test("a server that never answers is a typed reason, attempt after attempt", async () => {
  const server = await serve(() => undefined);
  const client = await opened(server.url, { ...FAST, connectTimeout: 50 });
  const why = await firstWhy(client);
  assert.equal(why.code, "timed_out");
  assert.ok(why.retryIn !== undefined && why.error instanceof ConnectionError && why.error.retryable);
  await until("another attempt", () => server.connections >= 3);
});

test("nobody listens at the address", async () => {
  const server = await Scripted.start(() => undefined);
  const { url } = server;
  await server.end();
  const client = await opened(url);
  assert.equal((await firstWhy(client)).code, "unreachable");
});

test("a close that is final rejects connect with its code", async () => {
  const server = await serve(async (peer) => (await peer.hears("auth"), peer.socket.close(4300, "replaced")));
  await assert.rejects(connect(server.url, FAST), (error) => {
    return error instanceof ConnectionError && error.closeCode === 4300 && !error.retryable;
  });
});

test("a flood of 80 KiB frames: requests are answered, nothing is kept", async () => {
  const padding = "x".repeat(80 * 1024 - 200);
  let flooding = true;
  const server = await serve(async (peer) => {
    await peer.greets();
    const flood = (): void => {
      if (!flooding || peer.socket.readyState !== peer.socket.OPEN) return;
      for (let count = 0; count < 8; count += 1) peer.say({ type: "weather", uncounted: true, padding });
      setImmediate(flood);
    };
    flood();
    for (;;) peer.say({ type: "pong", id: (await peer.hears("ping")).id });
  });
  const client = await opened(server.url);
  let frames = 0;
  client.on("unknown", () => (frames += 1));
  await client.ready();
  for (let count = 0; count < 5; count += 1) await client.ping();
  await until("many frames", () => frames > 500);
  flooding = false;
  assert.equal(client.state, "connected");
});

test("words of a newer server are told as they came", async () => {
  const server = await serve(async (peer) => {
    await peer.greets();
    const join = await peer.hears("join");
    peer.ack(join, { status: "postponed", dates: ["tomorrow"] });
    peer.say({ type: "weather", forecast: "rain" });
    peer.say({ type: "presence", user_id: CONNECTED.user_id, status: "asleep", note: null, devices: 1, last_seen: null });
  });
  const client = await opened(server.url);
  const told: string[] = [];
  client.on("unknown", (frame) => told.push(frame.type));
  client.on("presence", ({ status }) => told.push(status));
  await client.join("hall");
  await until("both", () => told.length === 2);
  assert.deepEqual(told, ["weather", "asleep"]);
});

const TOKENS: [string, () => unknown, string][] = [
  ["throws", () => { throw new Error("no network"); }, "token_failed"],
  ["rejects", () => Promise.reject(new Error("no network")), "token_failed"],
  ["hangs", () => new Promise(() => undefined), "token_timed_out"],
  ["returns nothing", () => undefined, "token_malformed"],
  ["returns a number", () => 7, "token_malformed"],
];
for (const [what, token, code] of TOKENS) {
  test(`a token function that ${what} is a typed reason, and is asked again`, async () => {
    const server = await serve((peer) => peer.greets());
    let asked = 0;
    const ask = (): string => ((asked += 1), asked === 1 ? (token() as string) : "a token");
    const client = await opened(server.url, { ...FAST, token: ask, tokenTimeout: 50 });
    const why = await firstWhy(client);
    assert.equal(why.code, code);
    assert.ok(why.needsCredentials && why.error.cause instanceof TokenError);
    await client.ready();
    assert.equal(asked, 2);
  });
}

test("a token that has expired is asked for again, with the reason", async () => {
  const server = await serve(async (peer, number) => {
    await peer.hears("auth");
    if (number > 1) return peer.say(CONNECTED);
    peer.say({ type: "auth_failure", code: "expired_token", message: "the token has expired" });
    peer.socket.close(4003);
  });
  const reasons: string[] = [];
  const client = await opened(server.url, { ...FAST, token: (reason) => (reasons.push(reason), "a token") });
  const why = await firstWhy(client);
  assert.equal(why.code, "expired_token");
  assert.ok(why.needsCredentials);
  await client.ready();
  assert.deepEqual(reasons, ["first", "expired"]);
});

test("a second refusal of a token in a row ends it", async () => {
  const server = await serve(async (peer) => {
    await peer.hears("auth");
    peer.say({ type: "auth_failure", code: "invalid_token", message: "no" });
    peer.socket.close(4002);
  });
  await assert.rejects(connect(server.url, FAST), { code: "invalid_token", name: "ConnectionError" });
  assert.equal(server.connections, 2);
});

test("a token function that says so signs out for good", async () => {
  const server = await serve((peer) => peer.greets());
  const token = (): string => { throw new SignedOutError(); };
  await assert.rejects(connect(server.url, { ...FAST, token }), { code: "signed_out", name: "ConnectionError" });
  assert.equal(server.connections, 0);
});

test("a slow token function is not asked twice at once", async () => {
  const server = await serve((peer) => peer.greets());
  let [asking, most] = [0, 0];
  const token = async (): Promise<string> => {
    most = Math.max(most, (asking += 1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    asking -= 1;
    return "a token";
  };
  const client = await opened(server.url, { ...FAST, token });
  for (let count = 0; count < 5; count += 1) client.reconnectNow();
  await client.ready();
  assert.equal(most, 1);
});

test("a clock that is ten minutes off is a typed reason for a key", async () => {
  const server = await serve((peer) => {
    const { host } = new URL(server.url);
    const challenge = Buffer.alloc(32, 5).toString("base64");
    peer.say({ type: "auth_challenge", challenge, audience: host, expires_at_ms: Date.now() + 600_000 });
  });
  const client = await opened(server.url, { key: await generateKey(), longestWait: 500 });
  assert.equal((await firstWhy(client)).code, "challenge_refused");
});

test("a key that does not sign is a typed reason", async () => {
  const server = await serve((peer) => {
    const { host } = new URL(server.url);
    const challenge = Buffer.alloc(32, 5).toString("base64");
    peer.say({ type: "auth_challenge", challenge, audience: host, expires_at_ms: Date.now() + 10_000 });
  });
  const { publicKey } = await generateKey();
  const cause = new Error("the card was pulled");
  const client = await opened(server.url, { key: { publicKey, sign: () => Promise.reject(cause) } });
  const why = await firstWhy(client);
  assert.equal(why.code, "signing_failed");
  assert.equal(why.error.cause, cause);
});

test("a listener that throws or rejects stops neither the others nor the client", async () => {
  const server = await serve(async (peer) => {
    await peer.greets();
    peer.ack(await peer.hears("join"));
    peer.say({ type: "chat_message", room: "hall", seq: 1, sender_user_id: CONNECTED.user_id, sender_device_id: "desk", payload: { content: "hi" } });
  });
  const client = await opened(server.url);
  const errors: AldisError[] = [];
  client.on("error", (error) => errors.push(error));
  const room = client.room("hall");
  const heard: string[] = [];
  room.on("message", () => { throw new Error("in a listener"); });
  room.on("message", async () => { throw new Error("in an async listener"); });
  room.on("message", ({ content }) => heard.push(content));
  await client.join("hall");
  await until("all three", () => heard.length === 1 && errors.length === 2);
  assert.deepEqual(errors.map(({ code }) => code), ["listener_failed", "listener_failed"]);
  assert.equal(client.state, "connected");
});

test("a listener that makes requests and closes the client", async () => {
  const server = await serve(async (peer) => {
    await peer.greets();
    for (;;) peer.ack(await peer.hears("chat_message"), { status: "stored", seq: 1 });
  });
  const client = await opened(server.url);
  const sent = new Promise((resolve, reject) => {
    client.on("session", () => {
      client.room("hall").send("at once").then(resolve, reject);
    });
  });
  await sent;
  client.on("state", () => void client.close());
  await client.close();
  assert.equal(client.state, "closed");
});

test("close in each state settles everything", async () => {
  const at: Record<string, (peer: Peer) => unknown> = {
    connecting: () => undefined,
    authenticating: (peer) => peer.hears("auth"),
    connected: (peer) => peer.greets(),
    reconnecting: (peer) => peer.socket.close(1012),
  };
  for (const [state, script] of Object.entries(at)) {
    const server = await serve(script);
    const client = await open(server.url, { ...FAST, connectTimeout: 5_000, longestWait: 30_000 });
    if (state !== "connecting") await until(state, () => client.state === state);
    const request = client.join("hall").then(() => undefined, (error: unknown) => error);
    const stream = client.room("hall").messages();
    const next = stream.next();
    await Promise.all([client.close(), client.close()]);
    const error = await request;
    assert.ok(error instanceof RequestError && error.code === "stopped", `${state}: ${String(error)}`);
    assert.equal((await next).done, true);
    await assert.rejects(client.join("hall"), { code: "stopped" });
    await assert.rejects(client.ready(), { name: "ConnectionError" });
    await client.close();
  }
});

test("connect twice is two clients, and each closes alone", async () => {
  const server = await serve((peer) => peer.greets());
  const [one, other] = await Promise.all([connect(server.url, FAST), connect(server.url, FAST)]);
  await one.close();
  assert.equal(other.state, "connected");
  await other.close();
});

test("connect is given up by its signal", async () => {
  const server = await serve(() => undefined);
  const abort = new AbortController();
  const connecting = connect(server.url, { ...FAST, signal: abort.signal });
  await until("a connection", () => server.connections === 1);
  abort.abort();
  await assert.rejects(connecting, { code: "aborted", name: "ConnectionError" });
  await assert.rejects(connect(server.url, { ...FAST, signal: abort.signal }), { code: "aborted" });
});

test("options that cannot be used say which", async () => {
  for (const [url, options, code] of [
    ["ftp://relay.example", FAST, "invalid_url"],
    ["http://relay.example", FAST, "invalid_url"],
    ["https://me:secret@relay.example", FAST, "invalid_url"],
    ["http://localhost", { ...FAST, deviceId: "a b" }, "bad_option"],
    ["http://localhost", { ...FAST, connectTimeout: -1 }, "bad_option"],
    ["http://localhost", {}, "bad_option"],
    ["http://localhost", { key: { publicKey: new Uint8Array(5), sign: async () => new Uint8Array() } }, "bad_option"],
  ] as const) {
    await assert.rejects(open(url, options as Parameters<typeof open>[1]), (error) => {
      return error instanceof OptionError && error.code === code && !error.message.includes("secret");
    });
  }
});

test("without a WebSocket, open says what is needed", async () => {
  const script = `import { open, usePlatform } from "@aldis/client";
    usePlatform({ wasm: async () => undefined, webSocket: async () => undefined });
    await open("http://localhost", { token: () => "" }).catch((error) => console.log(error.name, error.code));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd: import.meta.dirname });
  assert.equal(stdout.trim(), "EnvironmentError no_websocket");
});

test("a room's stream that nobody reads holds the room, and only that", async () => {
  const chat = (seq: number): Record<string, unknown> => ({
    type: "chat_message", room: "hall", seq, sender_user_id: CONNECTED.user_id, sender_device_id: "desk", payload: { content: `${seq}` },
  });
  const server = await serve(async (peer) => {
    await peer.greets();
    peer.ack(await peer.hears("join"));
    for (let seq = 1; seq <= 20; seq += 1) peer.say(chat(seq));
    for (;;) peer.say({ type: "pong", id: (await peer.hears("ping")).id });
  });
  const client = await opened(server.url);
  const room = client.room("hall");
  let heard = 0;
  room.on("message", () => (heard += 1));
  const stream = room.messages({ capacity: 4 });
  await client.join("hall");
  await until("a full stream", () => heard >= 4);
  await client.ping();
  assert.equal(heard, 4);
  const read: number[] = [];
  for await (const { seq } of stream) if (read.push(seq) === 20) break;
  assert.deepEqual(read, Array.from({ length: 20 }, (_, at) => at + 1));
});

test("a mailbox handler that fails is asked again, and only then acknowledged", async () => {
  const message = (seq: number): Record<string, unknown> => ({
    type: "message", message_id: `01900000-0000-7000-8000-00000000000${seq}`, seq, sender_user_id: "00000000-0000-0000-0000-000000000002",
    sender_device_id: "desk", recipient_id: CONNECTED.user_id, encrypted_content: btoa(`mail ${seq}`),
    created_at: "2026-01-01T00:00:00.000Z", delivered_at: null, read_at: null,
  });
  let delivered: unknown;
  const server = await serve(async (peer) => {
    await peer.greets();
    const sync = await peer.hears("sync");
    for (const seq of [1, 2]) peer.say({ ...message(seq), id: sync.id });
    peer.say({ type: "synced", id: sync.id, seq: 2, first_seq: 1, complete: true });
    const said = await peer.hears("delivered");
    delivered = said["message_ids"];
    peer.ack(said);
  });
  const client = await opened(server.url);
  const errors: AldisError[] = [];
  client.on("error", (error) => errors.push(error));
  await client.ready();
  const stored: string[] = [];
  const mailbox = client.mailbox({
    cursor: 0,
    receive: async ({ content }) => {
      if (errors.length === 0) throw new Error("the disk is full");
      stored.push(new TextDecoder().decode(content));
    },
  });
  await until("both stored and acknowledged", () => stored.length === 2 && delivered !== undefined);
  assert.deepEqual(stored, ["mail 1", "mail 2"]);
  assert.equal(mailbox.cursor, 2);
  assert.equal(errors[0]?.code, "not_stored");
  assert.throws(() => client.mailbox({ cursor: 0, receive: () => undefined }), OptionError);
});
