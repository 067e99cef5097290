/** In Node, against the real server. */
import assert from "node:assert/strict";
import { after, before, test, type TestContext } from "node:test";
import { Account, Client, SignedOutError, WebSocketManager, connect, generateKey, memoryStorage, type Presence, type RoomMessage } from "@aldis/client";
import { Proxy } from "./proxy.js";
import { Server, expiringIn, totp, unique, until } from "./server.js";

let server: Server;
before(async () => (server = await Server.start({ ALDIS_ROUTING: "open" })));
after(() => server.end());

async function client(context: TestContext, url: string, options?: Parameters<typeof connect>[1]): Promise<Client> {
  const made = await connect(url, options ?? { key: await generateKey(), longestWait: 500 });
  context.after(() => made.close());
  return made;
}

test("two clients with keys talk in a room", async (t) => {
  const [ann, bob] = [await client(t, server.url), await client(t, server.url)];
  const name = unique("room");
  const [hall, same] = [await ann.join(name), await bob.join(name, { since: 0 })];
  const heard: RoomMessage[] = [];
  same.on("message", (message) => heard.push(message));
  const { seq, status } = await hall.send("more salt");
  await until("bob hears ann", () => heard.length > 0);
  assert.equal(status, "stored");
  assert.deepEqual([heard[0]?.content, heard[0]?.seq, heard[0]?.sender.userId], ["more salt", seq, ann.session?.userId]);
  assert.deepEqual((await same.history(0)).messages.map(({ content }) => content), ["more salt"]);
  const said = new Promise((resolve) => same.on("broadcast", ({ payload }) => resolve(payload)));
  await hall.broadcast({ typing_now: true });
  assert.deepEqual(await said, { typing_now: true });
  await same.leave();
  await assert.rejects(ann.join("no such name!"), { name: "RequestError", code: "bad_option" });
});

test("a mailbox begins at its cursor, and misses nothing over a kill -9", async (t) => {
  const own = await Server.start({ ALDIS_ROUTING: "open" });
  t.after(() => own.end());
  const [ann, bob] = [await client(t, own.url), await client(t, own.url)];
  const stored: string[] = [];
  const text = new TextDecoder();
  const mailbox = bob.mailbox({ cursor: 0, receive: ({ content }) => stored.push(text.decode(content)) });
  const to = bob.session?.userId ?? "";
  const sent = await ann.sendMail(to, new TextEncoder().encode("one"));
  assert.equal(sent.status, "stored");
  await until("the first", () => stored.length === 1);
  await own.kill();
  await until("both notice", () => ann.state === "reconnecting" && bob.state === "reconnecting");
  const waiting = ann.sendMail(to, new TextEncoder().encode("two"));
  await own.start();
  await waiting;
  await until("the second", () => stored.length === 2);
  assert.deepEqual(stored, ["one", "two"]);
  await until("the cursor", () => mailbox.cursor === 2);
});

test("presence is watched and set", async (t) => {
  const [ann, bob] = [await client(t, server.url), await client(t, server.url)];
  const seen: Presence[] = [];
  await ann.presence.watch([bob.session?.userId ?? ""], (presence) => seen.push(presence));
  await bob.presence.set("away", { note: "lunch" });
  await until("bob is away", () => seen.some(({ status, note }) => status === "away" && note === "lunch"));
});

test("signals reach a device, and answers only within a call", async (t) => {
  const [ann, bob] = [await client(t, server.url), await client(t, server.url)];
  bob.on("signal", ({ kind, sender }) => {
    if (kind === "offer") return bob.signal({ device: sender.deviceId }, "answer", { sdp: "answer" });
    return undefined;
  });
  const kinds: string[] = [];
  ann.on("signal", ({ kind }) => kinds.push(kind));
  await ann.signal({ device: bob.session?.deviceId ?? "" }, "offer", { sdp: "offer" });
  await until("an answer", () => kinds.length === 1);
  ann.endCall(bob.session?.deviceId ?? "");
  const refused = new Promise((resolve) => ann.on("signalRefused", resolve));
  await bob.signal({ device: ann.session?.deviceId ?? "" }, "answer", { sdp: "late" });
  await refused;
  assert.deepEqual(kinds, ["answer"]);
  await assert.rejects(ann.signal({ device: "nobody" }, "signal", {}), { code: "target_unavailable", retryable: true });
  assert.ok(Array.isArray(await ann.iceServers()));
  assert.ok((await ann.ping()) >= 0);
});

test("a token that ends is replaced on the live connection", async (t) => {
  const { token } = await server.user();
  const reasons: string[] = [];
  const made = await client(t, server.url, {
    token: (reason) => (reasons.push(reason), reason === "first" ? expiringIn(token, 2) : token),
  });
  await until("another token", () => reasons.includes("expiring"));
  await new Promise((resolve) => setTimeout(resolve, 0));
  const before = made.session;
  await until("the first has ended", () => Date.parse(before?.expiresAt ?? "") < Date.now() - 500);
  await made.ping();
  assert.equal(made.session, before);
  assert.deepEqual(reasons, ["first", "expiring"]);
});

test("an expired token is a typed reason, and the next one connects", async (t) => {
  const { token } = await server.user();
  const made = await client(t, server.url, { token: (reason) => (reason === "first" ? expiringIn(token, -600) : token), longestWait: 500 });
  assert.equal(made.state, "connected");
});

test("a cut connection is resumed, and a silent one is noticed", async (t) => {
  const proxy = await Proxy.before(server.port);
  t.after(() => proxy.end());
  // A challenge names the address of the server, so a key cannot be used through a proxy.
  const { token } = await server.user();
  const ann = await client(t, proxy.url, { token: () => token, longestWait: 500 });
  const id = ann.session?.id;
  proxy.cut();
  await until("a resume", () => ann.state === "connected" && ann.session?.resumed === true);
  assert.equal(ann.session?.id, id);
  proxy.down();
  await until("the cut is noticed", () => ann.state === "reconnecting");
  const name = unique("room");
  const joined = ann.join(name);
  proxy.up();
  ann.reconnectNow();
  await joined;
});

test("an account: registered, restored, renewed once, its devices, signed out", async (t) => {
  const storage = memoryStorage();
  const [email, password] = [`${unique("ann")}@example.test`, "correct horse"];
  await Account.register(server.url, { email, password }, { storage, deviceName: "a test" });
  const account = await Account.restore({ storage });
  assert.ok(account !== undefined);
  const [one, two] = await Promise.all([account.token("invalid"), account.token("first")]);
  assert.equal(one, two);
  const [renewed, same] = await Promise.all([account.token("expired"), account.token("expired")]);
  assert.equal(renewed, same, "a refused token is replaced once");
  assert.notEqual(renewed, one);
  assert.deepEqual((await account.devices()).map(({ name }) => name), ["a test"]);
  const made = await client(t, server.url, { account });
  assert.equal(made.session?.deviceId, account.deviceId);
  await assert.rejects(Account.signIn(server.url, { email, password: "wrong horse" }, { storage: memoryStorage() }), {
    name: "CallError", code: "invalid_credentials", status: 401,
  });
  await account.signOut();
  assert.equal(await Account.restore({ storage }), undefined);
  await assert.rejects(account.token(), SignedOutError);
  await until("its connection ends", () => made.state === "closed");
});

test("a sign-in asks for the code of the second factor until one is right", async () => {
  const proof = { email: `${unique("ann")}@example.test`, password: "correct horse" };
  const account = await Account.register(server.url, proof, { storage: memoryStorage() });
  const enrolled = await account.call<{ secret: string; recovery_codes: string[] }>("POST", "/api/auth/totp/enroll");
  await account.call("POST", "/api/auth/totp/verify", { code: totp(enrolled.secret) });
  const asked: unknown[] = [];
  const codes = ["000000", enrolled.recovery_codes[0]];
  const storage = memoryStorage();
  const options = { storage, totp: (it: { attempt: number; wasWrong: boolean }) => (asked.push(it), codes.shift()) };
  const other = await Account.signIn(server.url, proof, options);
  assert.equal(other.userId, account.userId);
  assert.deepEqual(asked, [{ attempt: 1, wasWrong: false }, { attempt: 2, wasWrong: true }]);
  await assert.rejects(Account.signIn(server.url, proof, { storage }), { name: "CallError", code: "totp_required" });
});

test("a storage that fails leaves no device behind", async () => {
  const [email, password] = [`${unique("ann")}@example.test`, "correct horse"];
  const storage = { ...memoryStorage(), put: () => Promise.reject(new Error("the disk is full")) };
  await assert.rejects(Account.register(server.url, { email, password }, { storage }), /the disk is full/);
  const account = await Account.signIn(server.url, { email, password }, { storage: memoryStorage(), withoutDevice: true });
  assert.deepEqual(await account.devices(), []);
});

test("an identity's key signs in", async () => {
  const account = await Account.signInWithKey(server.url, await generateKey(), { storage: memoryStorage() });
  assert.equal((await account.devices()).length, 1);
});

test("WebSocketManager takes the chat door", async (t) => {
  const own = await Server.start({ ALDIS_ROUTING: "open" });
  t.after(() => own.end());
  const [ann, bob] = [await own.user(), await own.user()];
  const room = unique("room");
  const options = { longestWait: 500, queueLimit: 2 };
  const managers = [ann, bob].map(({ token }) => new WebSocketManager(own.url, room, { ...options, token: () => token }));
  const [one, other] = managers as [WebSocketManager, WebSocketManager];
  t.after(() => Promise.all(managers.map((manager) => manager.disconnect())));
  const states: string[] = [one.state];
  one.on("state", (state) => states.push(state));
  const heard: string[] = [];
  other.on("message", ({ content }) => heard.push(content));
  await assert.rejects(one.send("too early"), { code: "not_connected" });
  await Promise.all([one.connect(), one.connect(), other.connect()]);
  assert.deepEqual(states, ["disconnected", "connecting", "authenticating", "authenticated"]);
  await one.send("hello");
  await until("bob hears", () => heard.length === 1);
  await own.kill();
  await until("the break", () => one.state === "reconnecting");
  const waiting = [one.send("one"), one.send("two")];
  await assert.rejects(one.send("three"), { code: "queue_full", retryable: true });
  await own.start();
  await Promise.all(waiting);
  await until("bob hears the rest", () => heard.length === 3);
  assert.deepEqual(heard, ["hello", "one", "two"]);
  await one.disconnect();
  assert.equal(one.state, "disconnected");
  await one.connect();
  assert.equal(one.state, "authenticated");
});

test("WebSocketManager: a bad token is refused for good", async (t) => {
  const errors: string[] = [];
  const manager = new WebSocketManager(server.url, unique("room"), { token: () => "no token", longestWait: 500 });
  t.after(() => manager.disconnect());
  manager.on("state", (_, error) => error !== undefined && errors.push(error.code));
  await assert.rejects(manager.connect(), { name: "ConnectionError" });
  assert.ok(errors.length > 0);
});
