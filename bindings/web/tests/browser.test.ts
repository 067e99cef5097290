/** In headless Chromium, against the real server. The pages load the package by a plain `<script type="module">`. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type * as Aldis from "@aldis/client";
import { Site, launch } from "./browser.js";
import { Proxy } from "./proxy.js";
import { Server, expiringIn, unique, until } from "./server.js";

declare const aldis: typeof Aldis;
/** What a page keeps between two calls of a test. */
declare const kept: { client: Aldis.Client; heard: string[]; states: string[]; account: Aldis.Account };
declare const unhandled: string[];

let server: Server;
let site: Site;
let browser: Browser;
const contexts: BrowserContext[] = [];

before(async () => {
  const flags = ["--host-resolver-rules=MAP relay.example 127.0.0.1"];
  [server, site, browser] = await Promise.all([Server.start({ ALDIS_ROUTING: "open" }), Site.start(), launch(...flags)]);
});
after(() => Promise.all([server?.end(), site?.end(), browser?.close()]));
afterEach(async () => {
  for (const context of contexts.splice(0)) {
    for (const page of context.pages()) assert.deepEqual(await page.evaluate(() => unhandled), []);
    await context.close();
  }
});

/** A person's browser: a storage of its own. */
async function person(): Promise<BrowserContext> {
  const context = await browser.newContext();
  contexts.push(context);
  return context;
}

async function page(context?: BrowserContext): Promise<Page> {
  return site.opens(context ?? (await person()));
}

/** Connects by key, joins a room, and keeps what it hears. */
async function joins(page: Page, url: string, name: string): Promise<void> {
  await page.evaluate(
    async ([url, name]) => {
      const client = await aldis.connect(url, { key: await aldis.generateKey(), longestWait: 500 });
      Object.assign(globalThis, { kept: { client, heard: [], states: [] } });
      client.on("state", (state) => kept.states.push(state));
      const room = client.room(name);
      room.on("message", ({ content }) => kept.heard.push(content));
      await client.join(name);
    },
    [url, name] as const,
  );
}

const says = (page: Page, name: string, content: string): Promise<number> =>
  page.evaluate(async ([name, content]) => (await kept.client.room(name).send(content)).seq, [name, content] as const);
const state = (page: Page): Promise<string> => page.evaluate(() => kept.client.state);
const heard = (page: Page): Promise<string[]> => page.evaluate(() => kept.heard);

test("two pages talk in a room, over a kill -9 of the server", async () => {
  const own = await Server.start({ ALDIS_ROUTING: "open" });
  const [ann, bob, name] = [await page(), await page(), unique("room")];
  await Promise.all([joins(ann, own.url, name), joins(bob, own.url, name)]);
  await says(ann, name, "one");
  await until("bob hears", async () => (await heard(bob)).length === 1);
  await own.kill();
  await until("both notice", async () => (await state(ann)) === "reconnecting" && (await state(bob)) === "reconnecting");
  const waiting = says(ann, name, "two");
  await own.start();
  await waiting;
  await until("bob hears the rest", async () => (await heard(bob)).length === 2);
  assert.deepEqual(await heard(bob), ["one", "two"]);
  await own.end();
});

test("a room as a stream", async () => {
  const [ann, bob, name] = [await page(), await page(), unique("room")];
  await joins(ann, server.url, name);
  const seq = await says(ann, name, "more salt");
  const first = await bob.evaluate(
    async ([url, name]) => {
      const client = await aldis.connect(url, { key: await aldis.generateKey() });
      const stream = client.room(name).messages();
      await client.join(name, { since: 0 });
      for await (const message of stream) return [message.content, message.seq];
      return [];
    },
    [server.url, name] as const,
  );
  assert.deepEqual(first, ["more salt", seq]);
});

test("a token that ends is replaced on the live connection; an expired one is asked for again", async () => {
  const { token } = await server.user();
  const tab = await page();
  const reasons = await tab.evaluate(
    async ([url, expired, short, token]) => {
      const reasons: string[] = [];
      const client = await aldis.connect(url, {
        token: (reason) => (reasons.push(reason), reason === "first" ? expired : reason === "expired" ? short : token),
        longestWait: 500,
      });
      while (!reasons.includes("expiring")) await new Promise((resolve) => setTimeout(resolve, 10));
      const end = Date.parse(client.session?.expiresAt ?? "");
      while (Date.now() < end + 500) await new Promise((resolve) => setTimeout(resolve, 10));
      await client.ping();
      return [...reasons, client.state];
    },
    [server.url, expiringIn(token, -600), expiringIn(token, 3), token] as const,
  );
  assert.deepEqual(reasons, ["first", "expired", "expiring", "connected"]);
});

/** A page that reaches the server through a proxy, by a token: a key would name the server's own address. */
async function behind(proxy: Proxy, server: Server, host = "127.0.0.1"): Promise<Page> {
  const { token } = await server.user();
  const tab = await page();
  await tab.evaluate(
    async ([url, token]) => {
      const client = await aldis.connect(url, { token: () => token, insecure: true, longestWait: 500 });
      Object.assign(globalThis, { kept: { client, heard: [], states: [] } });
      client.on("state", (state) => kept.states.push(state));
    },
    [`http://${host}:${proxy.port}`, token] as const,
  );
  return tab;
}

test("offline makes no attempts, and online connects at once", async (t) => {
  // A page minds the network only where the server is another machine.
  const own = await Server.start({ ALDIS_PUBLIC_ORIGIN: "http://relay.example", ALDIS_ALLOWED_ORIGINS: "loopback" });
  const proxy = await Proxy.before(own.port);
  t.after(() => Promise.all([proxy.end(), own.end()]));
  const tab = await behind(proxy, own, "relay.example");
  proxy.down();
  await tab.context().setOffline(true);
  await until("the break", async () => (await state(tab)) === "reconnecting");
  const attempts = await tab.evaluate(() => kept.states.length);
  await tab.waitForTimeout(2_000);
  assert.ok((await tab.evaluate(() => kept.states.length)) <= attempts + 1, "at most the attempt that was under way");
  proxy.up();
  await tab.context().setOffline(false);
  await until("connected again", async () => (await state(tab)) === "connected");
  assert.equal(await tab.evaluate(() => kept.client.session?.resumed), true);
});

test("a socket that died in a page's sleep is noticed within 5 s of waking up", async (t) => {
  const proxy = await Proxy.before(server.port);
  t.after(() => proxy.end());
  const tab = await behind(proxy, server);
  const session = await tab.context().newCDPSession(tab);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  proxy.silence();
  await session.send("Page.setWebLifecycleState", { state: "active" });
  await tab.evaluate(() => document.dispatchEvent(new Event("resume")));
  const woke = Date.now();
  await until("the break", async () => (await state(tab)) !== "connected");
  assert.ok(Date.now() - woke < 6_000, `${Date.now() - woke} ms`);
  proxy.up();
  proxy.cut();
  await until("connected again", async () => (await state(tab)) === "connected");
});

test("two tabs of one account: one device, one renewal, and a successor", async () => {
  const context = await person();
  const [email, first] = [`${unique("ann")}@example.test`, await page(context)];
  await first.evaluate(
    async ([url, email]) => void (await aldis.Account.register(url, { email, password: "correct horse" })),
    [server.url, email] as const,
  );
  const second = await page(context);
  const connects = (tab: Page): Promise<{ device: boolean; token: string }> =>
    tab.evaluate(async (url) => {
      const account = await aldis.Account.restore();
      if (account === undefined) throw new Error("there is no account");
      const client = await aldis.connect(url, { account, longestWait: 500 });
      Object.assign(globalThis, { kept: { client, heard: [], states: [], account } });
      return { device: client.session?.deviceId === account.deviceId, token: await account.token("first") };
    }, server.url);
  const [one, two] = [await connects(first), await connects(second)];
  assert.deepEqual([one.device, two.device], [true, false]);
  assert.equal(one.token, two.token);
  const renew = (tab: Page): Promise<string> => tab.evaluate(() => kept.account.token("expired"));
  const [renewed, same] = await Promise.all([renew(first), renew(second)]);
  assert.equal(renewed, same);
  assert.notEqual(renewed, one.token);
  await first.close();
  await until("the second tab is the device", () =>
    second.evaluate(() => kept.client.state === "connected" && kept.client.session?.deviceId === kept.account.deviceId),
  );
});

/** Connects by key, and keeps what calls bring. */
async function answers(tab: Page, url: string): Promise<string> {
  return tab.evaluate(async (url) => {
    const client = await aldis.connect(url, { key: await aldis.generateKey(), longestWait: 500 });
    Object.assign(globalThis, { kept: { client, heard: [], states: [] } });
    const follow = (call: Aldis.Call): void => {
      call.on("track", (track) => kept.heard.push(track.kind));
      call.on("channel", (channel) => (channel.onmessage = ({ data }) => channel.send(`echo ${data as string}`)));
      call.on("ended", (error) => kept.heard.push(error?.code ?? "ended"));
    };
    Object.assign(kept, { follow });
    client.on("call", async (incoming) => follow(await incoming.accept()));
    return client.session?.deviceId ?? "";
  }, url);
}

test("two pages call each other: media, data, another way after a resume, and the end", async (t) => {
  const proxy = await Proxy.before(server.port);
  t.after(() => proxy.end());
  const [ann, bob] = [await behind(proxy, server), await page()];
  const device = await answers(bob, server.url);
  const echo = await ann.evaluate(async (device) => {
    const media = document.createElement("canvas");
    media.getContext("2d")?.fillRect(0, 0, 1, 1);
    const call = await kept.client.call(device, { media: media.captureStream(5) });
    Object.assign(kept, { call });
    call.on("ended", (error) => kept.heard.push(error?.code ?? "ended"));
    const channel = call.channel("chat");
    return new Promise<string>((resolve) => {
      channel.onopen = () => channel.send("hello");
      channel.onmessage = ({ data }) => resolve(data as string);
      Object.assign(kept, { channel });
    });
  }, device);
  assert.equal(echo, "echo hello");
  await until("the video", async () => (await heard(bob)).includes("video"));
  proxy.cut();
  await until("a resume", () => ann.evaluate(() => kept.client.state === "connected" && kept.client.session?.resumed === true));
  const again = await ann.evaluate(() => {
    const { call, channel } = kept as unknown as { call: Aldis.Call; channel: RTCDataChannel };
    call.restart();
    return new Promise<string>((resolve) => {
      channel.onmessage = ({ data }) => resolve(data as string);
      channel.send("again");
    });
  });
  assert.equal(again, "echo again");
  await ann.evaluate(() => (kept as unknown as { call: Aldis.Call }).call.close());
  await until("both have ended", async () => (await heard(ann)).includes("ended") && (await heard(bob)).includes("ended"));
});

test("two pages that call at once end up in one call", async () => {
  const [ann, bob] = [await page(), await page()];
  const [one, other] = await Promise.all([answers(ann, server.url), answers(bob, server.url)]);
  const calls = (tab: Page, device: string): Promise<string> =>
    tab.evaluate(async (device) => {
      const call = await kept.client.call(device);
      call.on("channel", (channel) => (channel.onmessage = ({ data }) => channel.send(`echo ${data as string}`)));
      const channel = call.channel("chat");
      return new Promise<string>((resolve, reject) => {
        channel.onopen = () => channel.send("hello");
        channel.onmessage = ({ data }) => resolve(data as string);
        call.on("ended", (error) => reject(error ?? new Error("ended")));
      });
    }, device);
  assert.deepEqual(await Promise.all([calls(ann, other), calls(bob, one)]), ["echo hello", "echo hello"]);
});

test("a call to a device that is gone ends with the server's word", async () => {
  const tab = await page();
  await answers(tab, server.url);
  const code = await tab.evaluate(async () => {
    const call = await kept.client.call("nobody");
    const ended = new Promise((resolve) => call.on("ended", (error) => resolve(error?.code)));
    call.channel("chat");
    return ended;
  });
  assert.equal(code, "target_unavailable");
});

test("a key is the same at the next visit, and lost when the storage is cleared", async () => {
  const context = await person();
  const key = (tab: Page, create: boolean): Promise<string> =>
    tab.evaluate(
      (create) => aldis.storedKey("mine", { create }).then(({ publicKey }) => publicKey.join(), (error: Aldis.AldisError) => error.code),
      create,
    );
  const first = await page(context);
  const made = await key(first, true);
  await first.close();
  const second = await page(context);
  assert.equal(await key(second, false), made);
  await second.evaluate(() => new Promise((resolve) => (indexedDB.deleteDatabase("aldis-keys").onsuccess = resolve)));
  assert.equal(await key(second, false), "key_missing");
});

test("where WebCrypto has no Ed25519, the core signs with a sealed secret", async () => {
  const tab = await page();
  const users = await tab.evaluate(async (url) => {
    const generateKey = crypto.subtle.generateKey.bind(crypto.subtle) as (...values: unknown[]) => Promise<unknown>;
    Object.assign(crypto.subtle, {
      generateKey: (algorithm: unknown, ...rest: unknown[]) =>
        algorithm === "Ed25519" ? Promise.reject(new DOMException("no", "NotSupportedError")) : generateKey(algorithm, ...rest),
    });
    const users = [];
    for (let visit = 0; visit < 2; visit += 1) {
      const client = await aldis.connect(url, { key: await aldis.storedKey("sealed") });
      users.push(client.session?.userId);
      await client.close();
    }
    return users;
  }, server.url);
  assert.equal(users[0], users[1]);
});

for (const [what, spoil, code] of [
  ["forbidden", `indexedDB.open = () => { throw new DOMException("no", "SecurityError"); }`, "storage_unavailable"],
  ["full", `IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); }`, "storage_full"],
] as const) {
  test(`an IndexedDB that is ${what} is a typed error`, async () => {
    const tab = await page();
    await tab.evaluate(spoil);
    const codes = await tab.evaluate(
      async ([url, email]) => {
        const code = (error: unknown): string => (error instanceof aldis.StorageError ? error.code : String(error));
        return [
          await aldis.storedKey("mine").then(() => "none", code),
          await aldis.Account.register(url, { email, password: "correct horse" }).then(() => "none", code),
        ];
      },
      [server.url, `${unique("ann")}@example.test`] as const,
    );
    assert.deepEqual(codes, [code, code]);
  });
}

test("a page without a secure context is told so", async () => {
  const context = await person();
  const tab = await site.opens(context, "relay.example");
  const code = await tab.evaluate(() => aldis.generateKey().then(() => "none", (error: Aldis.AldisError) => `${error.name} ${error.code}`));
  assert.equal(code, "EnvironmentError insecure_context");
});
