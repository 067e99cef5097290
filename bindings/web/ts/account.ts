import { SignIn, renew_after } from "../wasm/aldis.js";
import { call, send, type Fetch, type Where } from "./call.js";
import { checked, loadCore } from "./core.js";
import type { TokenReason } from "./state.js";
import { AldisError, CallError, OptionError, SignedOutError, failure, textOf, type Failure } from "./errors.js";
import { keyOf, newKey, persist, type Key, type StoredKey } from "./keys.js";
import { exclusively } from "./locks.js";
import { browserStorage, memoryStorage, type KeyValueStorage } from "./storage.js";
import { toBase64 } from "./wire.js";

/** Asks the user for a code of their authenticator app. Nothing gives up. */
export type TotpFunction = (asked: { attempt: number; wasWrong: boolean }) => string | undefined | Promise<string | undefined>;

export interface AccountOptions {
  /** Allows `http` to other hosts than this machine. */
  insecure?: boolean;
  /** Tells several accounts of one page apart; `default` by default. */
  name?: string;
  /** Where the account is kept: IndexedDB in browsers; elsewhere it ends with the program. */
  storage?: KeyValueStorage;
  /** Asks for the code, where a second factor is on. */
  totp?: TotpFunction;
  /** What people see in their list of devices. */
  deviceName?: string;
  /** Makes no device: the account connects as ephemeral devices alone. */
  withoutDevice?: boolean;
}

/** A device of the account. */
export interface Device {
  readonly device_id: string;
  readonly name: string | null;
  readonly [member: string]: unknown;
}

/** What is kept of an account. */
interface Saved {
  readonly url: string;
  readonly userId: string;
  readonly refreshToken: string;
  readonly accessToken: string;
  /** When another access token is due, in Unix milliseconds. */
  readonly renewAt: number;
  readonly device?: { readonly id: string; readonly key: StoredKey };
}

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
  readonly user_id: string;
}

type Step =
  | { do: "call"; request: Fetch }
  | { do: "sign"; bytes: number[] }
  | { do: "ask_code"; attempt: number; wasWrong: boolean }
  | { do: "done"; tokens: Tokens }
  | { do: "fail"; error: Failure };

/** A signed-in account. All tabs share it: one renewal of its tokens serves them all. */
export class Account {
  /** The user. */
  readonly userId: string;
  /** The device of this browser, where there is one. */
  readonly deviceId: string | undefined;
  /** @internal */
  readonly lockName: string;
  readonly #where: Where;
  readonly #storage: KeyValueStorage;
  readonly #record: string;
  readonly #deviceKey: StoredKey | undefined;
  #lastGiven: string | undefined;

  private constructor(saved: Saved, options: AccountOptions, storage: KeyValueStorage) {
    this.userId = saved.userId;
    this.deviceId = saved.device?.id;
    this.#deviceKey = saved.device?.key;
    this.#where = { url: saved.url, insecure: options.insecure ?? false };
    this.#storage = storage;
    this.#record = nameOf(options);
    this.lockName = `aldis-account:${this.#record}`;
  }

  /** Makes an account with an address and a password, and signs in. */
  static async register(url: string, proof: { email: string; password: string }, options: AccountOptions = {}): Promise<Account> {
    await loadCore();
    const where = whereOf(url, options);
    return Account.#begin(where, options, await call<Tokens>(where, "POST", "/auth/register", proof));
  }

  /** Signs in with an address and a password. */
  static async signIn(url: string, proof: { email: string; password: string }, options: AccountOptions = {}): Promise<Account> {
    await loadCore();
    const where = whereOf(url, options);
    const flow = checked(() => SignIn.by_password(where.url, where.insecure, proof.email, proof.password));
    return Account.#begin(where, options, await carryOut(flow, undefined, options.totp));
  }

  /** Signs in with an identity's key. A key that the server never saw makes the account, where registration is open. */
  static async signInWithKey(url: string, key: Key, options: AccountOptions = {}): Promise<Account> {
    await loadCore();
    const where = whereOf(url, options);
    const flow = checked(() => SignIn.by_key(where.url, where.insecure, key.publicKey));
    return Account.#begin(where, options, await carryOut(flow, key, options.totp));
  }

  /** Goes on with the account that is kept, if there is one. Nothing is asked of the server yet. */
  static async restore(options: AccountOptions = {}): Promise<Account | undefined> {
    await loadCore();
    const storage = storageOf(options);
    const saved = await storage.get<Saved>(nameOf(options));
    return saved === undefined ? undefined : new Account(saved, options, storage);
  }

  /** An access token that is good for some time to come; renewed once for all tabs. Rejects with `SignedOutError` for good. */
  async token(reason: TokenReason = "reconnecting"): Promise<string> {
    const refused = reason === "first" || reason === "reconnecting" ? undefined : this.#lastGiven;
    this.#lastGiven = await exclusively(`${this.lockName}:token`, () => this.#usable(refused));
    return this.#lastGiven;
  }

  /** The key of this browser's device, where there is one. */
  async deviceKey(): Promise<Key | undefined> {
    return this.#deviceKey === undefined ? undefined : keyOf(this.#deviceKey);
  }

  /** Makes a call of the HTTP API as this user. Rejects with a `CallError`, or with `SignedOutError` for good. */
  async call<T = unknown>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
    try {
      return await call<T>(this.#where, method, path, body, await this.token());
    } catch (error) {
      if (!(error instanceof CallError) || !["expired_token", "invalid_token"].includes(error.code)) throw error;
      return call<T>(this.#where, method, path, body, await this.token("invalid"));
    }
  }

  /** All devices of the account. */
  async devices(): Promise<Device[]> {
    return (await this.call<{ devices: Device[] }>("GET", "/devices/")).devices;
  }

  /** Removes a device: its connection closes, and its key proves nothing any more. */
  async removeDevice(deviceId: string): Promise<void> {
    await this.call("DELETE", `/devices/${encodeURIComponent(deviceId)}`);
  }

  /** Signs out in this browser: removes its device, ends the sign-in, and forgets the account. */
  async signOut(options: { everywhere?: boolean } = {}): Promise<void> {
    try {
      if (this.deviceId !== undefined) await this.removeDevice(this.deviceId).catch(unlessGone);
      await this.call("POST", "/api/auth/logout", { everywhere: options.everywhere ?? false });
    } catch (error) {
      if (!(error instanceof SignedOutError)) throw error;
    }
    await this.#storage.delete(this.#record);
  }

  static async #begin(where: Where, options: AccountOptions, tokens: Tokens): Promise<Account> {
    const storage = storageOf(options);
    const device = options.withoutDevice === true ? undefined : await newDevice(where, tokens, options.deviceName);
    const saved: Saved = { url: where.url, ...kept(tokens), ...(device === undefined ? {} : { device }) };
    try {
      await storage.put(nameOf(options), saved);
    } catch (error) {
      // Nobody would ever have the device's key.
      await abandon(where, tokens, device?.id);
      throw error;
    }
    await persist();
    return new Account(saved, options, storage);
  }

  async #usable(refused: string | undefined): Promise<string> {
    const saved = await this.#storage.get<Saved>(this.#record);
    if (saved === undefined || saved.userId !== this.userId) throw new SignedOutError();
    if (saved.accessToken !== refused && Date.now() < saved.renewAt) return saved.accessToken;
    const { url, insecure } = this.#where;
    const flow = checked(() => SignIn.renewal(url, insecure, saved.refreshToken));
    try {
      const renewed = { ...saved, ...kept(await carryOut(flow, undefined, undefined)) };
      await this.#storage.put(this.#record, renewed);
      return renewed.accessToken;
    } catch (error) {
      if (!(error instanceof SignedOutError)) throw error;
      await this.#storage.delete(this.#record);
      throw error;
    }
  }
}

function kept(tokens: Tokens): Pick<Saved, "userId" | "refreshToken" | "accessToken" | "renewAt"> {
  return {
    userId: tokens.user_id,
    refreshToken: tokens.refresh_token,
    accessToken: tokens.access_token,
    renewAt: Date.now() + renew_after(tokens.expires_in),
  };
}

/** Carries out a sign-in to its end. */
async function carryOut(flow: SignIn, key: Key | undefined, totp: TotpFunction | undefined): Promise<Tokens> {
  let cause: unknown;
  let next = flow.begin();
  for (;;) {
    const step = JSON.parse(next) as Step;
    switch (step.do) {
      case "call": {
        const { status, retryAfter, body, failed } = await send(step.request);
        next = flow.take_answer(Date.now(), status, retryAfter, body, failed);
        break;
      }
      case "sign":
        try {
          if (key === undefined) throw new Error("there is no key");
          next = flow.take_signature(await key.sign(new Uint8Array(step.bytes)));
        } catch (error) {
          cause = error;
          next = flow.take_no_signature(textOf(error));
        }
        break;
      case "ask_code":
        next = flow.take_code(await totp?.({ attempt: step.attempt, wasWrong: step.wasWrong }));
        break;
      case "done":
        return step.tokens;
      case "fail":
        throw step.error.endsSignIn === true || step.error.code === "signed_out"
          ? new SignedOutError()
          : new CallError(step.error, cause);
    }
  }
}

async function newDevice(where: Where, tokens: Tokens, name: string | undefined): Promise<NonNullable<Saved["device"]>> {
  const [key, id] = [await newKey(), globalThis.crypto.randomUUID()];
  const { publicKey } = await keyOf(key);
  const body = { device_id: id, pubkey: toBase64(publicKey), ...(name === undefined ? {} : { name }) };
  await call(where, "POST", "/devices/register", body, tokens.access_token);
  return { id, key };
}

async function abandon(where: Where, tokens: Tokens, deviceId: string | undefined): Promise<void> {
  const token = tokens.access_token;
  // Where that does not come about, the sign-in ends by itself.
  if (deviceId !== undefined) await call(where, "DELETE", `/devices/${deviceId}`, undefined, token).catch(() => undefined);
  await call(where, "POST", "/api/auth/logout", { everywhere: false }, token).catch(() => undefined);
}

function unlessGone(error: unknown): void {
  if (!(error instanceof AldisError && error.code === "unknown_device")) throw error;
}

function whereOf(url: string, options: AccountOptions): Where {
  return { url, insecure: options.insecure ?? false };
}

function nameOf(options: AccountOptions): string {
  const name = options.name ?? "default";
  if (name === "") throw new OptionError(failure("bad_option", "`name` must not be empty"));
  return name;
}

const memory = memoryStorage();

function storageOf(options: AccountOptions): KeyValueStorage {
  if (options.storage !== undefined) return options.storage;
  return typeof globalThis.window === "undefined" && globalThis.indexedDB === undefined ? memory : browserStorage("aldis-accounts");
}
