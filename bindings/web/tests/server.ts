/** The real server, started and stopped by process id. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const BINARY = process.env["ALDIS_BINARY"] ?? "aldis";
export const SECRET_KEY = "a key for scenarios only, 32 bytes and more";

export class Server {
  readonly #directory = mkdtempSync(join(tmpdir(), "aldis-web-"));
  readonly #settings: Record<string, string>;
  #child: ChildProcess | undefined;
  #address = "127.0.0.1:0";

  private constructor(settings: Record<string, string>) {
    this.#settings = settings;
  }

  static async start(settings: Record<string, string> = {}): Promise<Server> {
    const server = new Server(settings);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://${this.#address}`;
  }

  get port(): number {
    return Number(this.#address.split(":")[1]);
  }

  /** Starts it, again on the same port and with the same data. */
  async start(): Promise<void> {
    const child = spawn(BINARY, [], {
      cwd: this.#directory,
      env: {
        PATH: process.env["PATH"],
        HOST: "127.0.0.1",
        PORT: String(this.port),
        SECRET_KEY,
        ALDIS_RATE_LIMITS: "off",
        ALDIS_DATA_DIR: this.#directory,
        ...this.#settings,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    const log: string[] = [];
    createInterface({ input: child.stderr! }).on("line", (line) => log.push(line));
    for await (const line of createInterface({ input: child.stdout! })) {
      const address = /^listening on http:\/\/(\S+)/.exec(line)?.[1];
      if (address === undefined) continue;
      this.#address = address;
      return;
    }
    throw new Error(`the server did not start:\n${log.join("\n")}`);
  }

  /** Kills it without warning. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async post(path: string, body: unknown, token?: string): Promise<Record<string, unknown>> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
  }

  /** A new user by email and password; returns an access token. */
  async user(name: string = unique("user")): Promise<{ email: string; password: string; token: string; userId: string }> {
    const [email, password] = [`${name}@example.test`, "correct horse"];
    const tokens = await this.post("/auth/register", { email, password });
    return { email, password, token: String(tokens["access_token"]), userId: String(tokens["user_id"]) };
  }
}

/** The token with another end, in seconds from now; signed by the server's own key. */
export function expiringIn(token: string, seconds: number): string {
  const [header = "", claims = ""] = token.split(".");
  const changed = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
  const now = Math.floor(Date.now() / 1000);
  Object.assign(changed, { exp: now + seconds, ...(seconds < 0 ? { iat: now + seconds - 60 } : {}) });
  const signed = `${header}.${Buffer.from(JSON.stringify(changed)).toString("base64url")}`;
  return `${signed}.${createHmac("sha256", SECRET_KEY).update(signed).digest("base64url")}`;
}

/** The code of an authenticator app at present (RFC 6238). */
export function totp(base32: string): string {
  const bits = [...base32].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const mac = createHmac("sha1", key).update(step).digest();
  const at = mac[19]! & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

let count = 0;

export function unique(name: string): string {
  count += 1;
  return `${name}-${process.pid}-${count}`;
}

/** Waits until something is so. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, patience = 20_000): Promise<void> {
  const deadline = Date.now() + patience;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
