import { loadCore, type CoreEvent } from "./core.js";
import type { ConnectionState, SessionInfo } from "./state.js";
import type { Account } from "./account.js";
import { Calls } from "./calls.js";
import type { Call } from "./rtc.js";
import { hold, tryHold } from "./locks.js";
import { Emitter, reportUnheard, type Unsubscribe } from "./emitter.js";
import { AldisError, ConnectionError, OptionError, RequestError, failure } from "./errors.js";
import type { Key } from "./keys.js";
import { Room } from "./room.js";
import { Shell, type Proof } from "./shell.js";
import { TokenSource, type TokenFunction } from "./tokens.js";
import { watchPage } from "./page.js";
import {
  incomingSignal, isSignal, mailboxMessage, members,
  type Frame, type IceServer, type IncomingSignal, type Json, type MailboxMessage, type Presence, type Receipt, type SignalKind,
} from "./wire.js";

/** What proves who the client is. */
export type Credentials =
  | { readonly token: TokenFunction; readonly key?: never; readonly account?: never }
  | { readonly key: Key; readonly token?: never; readonly account?: never }
  | { readonly account: Account; readonly token?: never; readonly key?: never };

export interface Options {
  /** The device to connect as; an ephemeral one by default. */
  deviceId?: string;
  /** Allows `http` to other hosts than this machine: everybody on the way can read the tokens. */
  insecure?: boolean;
  /** How long a dial, and then the handshake, may take, in milliseconds; 10,000 by default. */
  connectTimeout?: number;
  /** How long a request waits for its reply, breaks included; 30,000 by default. */
  requestTimeout?: number;
  /** How long the token function may take; 20,000 by default. */
  tokenTimeout?: number;
  /** The ceiling of the random waits between attempts; 30,000 by default. A time that the server names wins. */
  longestWait?: number;
  /** Ends `connect`, and closes the client. */
  signal?: AbortSignal;
}

/** Why a client is not connected. */
export interface Why {
  readonly code: string;
  readonly message: string;
  /** When the next attempt begins, in milliseconds; none where the client has stopped. */
  readonly retryIn: number | undefined;
  /** Whether a new token, another key or another sign-in is what it takes. */
  readonly needsCredentials: boolean;
  readonly error: ConnectionError;
}

/** Where signals go: to a device, or to all live devices of a user. */
export type Target = { readonly device: string } | { readonly user: string };

/** What a client tells. */
export type ClientEvents = {
  state: [ConnectionState, Why | undefined];
  /** There is a session: a new one, or the same one resumed. */
  session: [SessionInfo];
  signal: [IncomingSignal];
  /** Another device calls. `accept` answers, `reject` ends it. Without a listener, offers come as signals alone. */
  call: [IncomingCall];
  /** A signal was dropped. Where it is not a client's mistake, somebody tries to get into a call. */
  signalRefused: [{ readonly reason: string; readonly signal: string; readonly userId: string; readonly deviceId: string; readonly total: number }];
  /** A message of the mailbox, unacknowledged, where the client does not keep the mailbox. */
  mail: [MailboxMessage];
  /** What happened to messages that were sent: delivered, read. */
  receipt: [Frame];
  presence: [Presence];
  /** Something happened to the account. */
  alert: [Frame];
  contactRequest: [Frame];
  roomInvite: [{ readonly room: string; readonly userId: string }];
  iceServers: [readonly IceServer[]];
  draining: [{ readonly reconnectAfter: number }];
  /** A frame of a type that only a newer server knows. */
  unknown: [Frame];
  /** Something failed that no promise tells: a listener, a new token on a live connection, a handler of the mailbox. */
  error: [AldisError];
};

/** A call that waits to be answered. */
export interface IncomingCall {
  readonly sender: IncomingSignal["sender"];
  /** Answers, and sends the tracks of `media`. */
  accept(options?: { media?: MediaStream }): Promise<Call>;
  reject(): void;
}

export interface MailboxOptions {
  /** The `seq` of the last message that was stored; 0 at first. */
  cursor: number;
  /** Stores a message and its `seq`. The message is acknowledged when this resolves, and handed over again if it rejects. */
  receive: (message: MailboxMessage) => unknown;
}

/** The mailbox, as the client keeps it. */
export interface Mailbox {
  /** Up to which number everything is received and stored. */
  readonly cursor: number;
}

/** A connection that keeps itself up. */
export class Client {
  readonly #shell: Shell;
  readonly #emitter: Emitter<ClientEvents>;
  readonly #rooms = new Map<string, Room>();
  readonly #unwatch: () => void;
  readonly #calls: Calls;
  #session: SessionInfo | undefined;
  #receive: MailboxOptions["receive"] | undefined;
  #cursor = 0;
  #why: Why | undefined;
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => undefined;
  /** Presence: whom to watch, and what this device shows. */
  readonly presence: PresenceOfClient;

  /** @internal */
  constructor(url: string, credentials: Credentials, options: Options, door?: string) {
    this.#emitter = new Emitter((error) => this.#report(error));
    this.#closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#shell = new Shell(
      {
        url,
        door,
        insecure: options.insecure ?? false,
        proof: proofOf(credentials, options.tokenTimeout ?? 20_000),
        deviceId: options.deviceId,
        connectTimeout: time("connectTimeout", options.connectTimeout, 10_000),
        requestTimeout: time("requestTimeout", options.requestTimeout, 30_000),
        longestWait: Math.max(500, time("longestWait", options.longestWait, 30_000)),
      },
      {
        state: (state, why, retryIn) => this.#changed(state, why, retryIn),
        session: (session) => this.#entered(session),
        event: (event) => this.#happened(event),
        store: async (frame) => void (await this.#receive?.(mailboxMessage(frame))),
        cursor: (seq) => void (this.#cursor = seq),
      },
    );
    this.#calls = new Calls({
      ownDevice: () => this.#session?.deviceId ?? "",
      iceServers: () => this.iceServers(),
      signal: (device, kind, payload) => this.signal({ device }, kind, payload),
      end: (device) => this.endCall(device),
      report: (error) => this.#report(error),
    });
    this.presence = new PresenceOfClient(this.#shell, this.#emitter);
    this.#unwatch = watchPage(this.#shell, url);
    this.#shell.start();
  }

  /** Where the client stands. */
  get state(): ConnectionState {
    return this.#shell.state;
  }

  /** Why the client is not connected, if it is not. */
  get why(): Why | undefined {
    return this.#why;
  }

  /** The session, or the last one if there is none at the moment. */
  get session(): SessionInfo | undefined {
    return this.#session;
  }

  /** Listens; returns what takes the listener away again. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (...values: ClientEvents[Name]) => unknown): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Resolves when the client is connected; rejects with a `ConnectionError` when it has stopped. */
  async ready(): Promise<SessionInfo> {
    if (this.state === "connected" && this.#session !== undefined) return this.#session;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.state === "connected" && this.#session !== undefined) resolve(this.#session);
        else if (this.state === "closed") reject(this.#why?.error ?? new ConnectionError(failure("stopped", "stopped")));
        else return;
        unsubscribe();
      };
      const unsubscribe = this.#emitter.on("state", settle);
      settle();
    });
  }

  /**
   * Enters a room and stays in it over breaks, until `leave`. Its messages come from the number after `since` on: the last
   * one that the application has, or 0 for all that the server keeps. Without `since`, from now on.
   */
  async join(name: string, options: { since?: number } = {}): Promise<Room> {
    const { since } = options;
    if (since !== undefined && !(Number.isSafeInteger(since) && since >= 0)) {
      throw new OptionError(failure("bad_option", "`since` is the number of a message, or 0"));
    }
    const room = this.room(name);
    await this.#shell.request({ type: "join", room: name }, since);
    return room;
  }

  /** A handle for a room, to listen before `join`. Nothing is sent. */
  room(name: string): Room {
    const room = this.#rooms.get(name) ?? new Room(name, this.#shell, (error) => this.#report(error));
    this.#rooms.set(name, room);
    return room;
  }

  /**
   * Keeps the mailbox from now on: `receive` gets each message once and in order, whatever breaks. A message is
   * acknowledged only when `receive` has resolved.
   */
  mailbox(options: MailboxOptions): Mailbox {
    if (this.#receive !== undefined) {
      throw new OptionError(failure("bad_option", "this client keeps its mailbox already"));
    }
    if (!Number.isSafeInteger(options.cursor) || options.cursor < 0) {
      throw new OptionError(failure("bad_option", "`cursor` is the number of a message, or 0"));
    }
    this.#receive = options.receive;
    this.#cursor = options.cursor;
    this.#shell.keepMailbox(options.cursor);
    const cursor = (): number => this.#cursor;
    return {
      get cursor() {
        return cursor();
      },
    };
  }

  /** Sends what only the recipient can read to their mailbox. Resolves when it is stored. */
  async sendMail(recipient: string, content: Uint8Array): Promise<Receipt> {
    return members(await this.#shell.request({ type: "message", to: recipient, content: [...content] }));
  }

  /** Says that messages of the mailbox were read; their senders are told. At most 500 at once. */
  async read(messageIds: readonly string[]): Promise<void> {
    await this.#shell.request({ type: "read", ids: messageIds });
  }

  /** Sends a signal. An `offer` opens a call: from then on answers and candidates of the target are let through. */
  async signal(target: Target, kind: SignalKind, payload: Json): Promise<Receipt> {
    const to = "device" in target ? { to: target.device } : { ids: [target.user] };
    return members(await this.#shell.request({ type: kind, ...to, payload }));
  }

  /** Ends the call with a device: its answers and candidates are dropped, until the next offer. Nothing is sent. */
  endCall(deviceId: string): void {
    this.#shell.endCall(deviceId);
  }

  /** Calls a device, with the tracks of `media` if there are any; channels can be opened at once. */
  call(device: string, options: { media?: MediaStream } = {}): Promise<Call> {
    return this.#calls.call(device, options.media);
  }

  /** The STUN and TURN servers of the server. */
  async iceServers(): Promise<IceServer[]> {
    const frame = await this.#shell.request({ type: "ice_servers" });
    return frame["ice_servers"] as IceServer[];
  }

  /** How long the server takes to answer, in milliseconds. */
  async ping(): Promise<number> {
    const begin = performance.now();
    await this.#shell.request({ type: "ping" });
    return performance.now() - begin;
  }

  /** Drops the socket, or the wait for the next attempt, and dials at once; the session is resumed. */
  reconnectNow(): void {
    this.#shell.reconnectNow();
  }

  /** Goes offline and closes. Resolves when that is done, after about 4 s at most. May be called more than once. */
  close(): Promise<void> {
    this.#shell.stop();
    return this.#closed;
  }

  /** @internal */
  becomeDevice(key: Key, deviceId: string): void {
    this.#shell.becomeDevice(keyProof(key), deviceId);
  }

  #changed(state: ConnectionState, error: ConnectionError | undefined, retryIn: number | undefined): void {
    const { code, message, needsCredentials } = error ?? {};
    this.#why =
      error === undefined || code === undefined || message === undefined
        ? undefined
        : { code, message, retryIn, needsCredentials: needsCredentials ?? false, error };
    if (state === "closed") this.#stopped();
    this.#emitter.emit("state", state, this.#why);
  }

  #stopped(): void {
    this.#unwatch();
    this.#calls.close();
    for (const room of this.#rooms.values()) room.end();
    this.#resolveClosed();
  }

  #entered(session: SessionInfo): void {
    const { id, userId, deviceId, resumed, expiresAt } = session;
    this.#session = { id, userId, deviceId, resumed, ...(expiresAt === undefined ? {} : { expiresAt }) };
    // After a break the network may be another one.
    this.#calls.restart();
    this.#emitter.emit("session", this.#session);
  }

  #happened(event: CoreEvent): void {
    switch (event.kind) {
      case "frame":
        return this.#took(event.frame);
      case "missed":
      case "started_over":
      case "not_restored":
        if (event.room !== undefined) return this.#roomHappened(event.room, event);
        if (event.kind === "not_restored") this.#report(new RequestError(event.error));
        return;
      case "signal_refused": {
        const { reason, signal, userId, deviceId, total } = event;
        return this.#emitter.emit("signalRefused", { reason, signal, userId, deviceId, total });
      }
      case "reauthentication_failed":
        return this.#report(new ConnectionError(event.error));
      case "not_stored": {
        const said = failure("not_stored", event.error, { isRetryable: true, retryAfter: event.retryIn });
        return this.#report(new AldisError(said));
      }
      case "error":
        return this.#report(new RequestError(failure(event.code, event.message)));
      case "draining":
        return this.#emitter.emit("draining", { reconnectAfter: event.reconnectAfter });
      case "connected":
      case "closed":
      case "auth_required":
      case "reauthenticated":
        return;
    }
  }

  #roomHappened(name: string, event: CoreEvent): void {
    this.#rooms.get(name)?.handleEvent(event);
    if (event.kind === "not_restored") this.#rooms.delete(name);
  }

  #took(frame: Frame): void {
    const room = frame["room"];
    if (frame.type === "room_invite") return this.#emitter.emit("roomInvite", members(frame));
    if (typeof room === "string") return this.#rooms.get(room)?.handleFrame(frame);
    if (isSignal(frame)) return this.#signalled(incomingSignal(frame));
    switch (frame.type) {
      case "presence":
        return this.#emitter.emit("presence", members(frame));
      case "message":
        return this.#emitter.emit("mail", mailboxMessage(frame));
      case "receipt":
        return this.#emitter.emit("receipt", frame);
      case "alert":
        return this.#emitter.emit("alert", frame);
      case "contact_request":
        return this.#emitter.emit("contactRequest", frame);
      case "ice_servers":
        return this.#emitter.emit("iceServers", frame["ice_servers"] as IceServer[]);
      default:
        return this.#emitter.emit("unknown", frame);
    }
  }

  #signalled(signal: IncomingSignal): void {
    if (this.#calls.take(signal)) return;
    const { kind, sender } = signal;
    if (kind !== "offer" || !this.#emitter.has("call")) return this.#emitter.emit("signal", signal);
    const waiting = this.#calls.wait(signal);
    this.#emitter.emit("call", {
      sender,
      accept: ({ media } = {}) => waiting.accept(media),
      reject: () => waiting.reject(),
    });
  }

  #report(error: Error): void {
    if (error instanceof AldisError && this.#emitter.has("error")) this.#emitter.emit("error", error);
    else reportUnheard(error);
  }
}

/** The presence of others, and of this device. */
export class PresenceOfClient {
  readonly #shell: Shell;
  readonly #emitter: Emitter<ClientEvents>;

  /** @internal */
  constructor(shell: Shell, emitter: Emitter<ClientEvents>) {
    this.#shell = shell;
    this.#emitter = emitter;
  }

  /** Watches users, by id or fingerprint, over breaks. Only those who allow it are told. Resolves when the server knows. */
  async watch(users: readonly string[], listener?: (presence: Presence) => unknown): Promise<Unsubscribe> {
    const unsubscribe = listener === undefined ? undefined : this.#emitter.on("presence", listener);
    try {
      await this.#shell.request({ type: "presence_subscribe", ids: users });
    } catch (error) {
      unsubscribe?.();
      throw error;
    }
    return () => {
      unsubscribe?.();
    };
  }

  async unwatch(users: readonly string[]): Promise<void> {
    await this.#shell.request({ type: "presence_unsubscribe", ids: users });
  }

  /** Shows this device so, over breaks. */
  async set(status: "online" | "away" | "busy" | "offline", options: { note?: string } = {}): Promise<void> {
    await this.#shell.request({ type: "presence", to: status, ...options });
  }
}

/** Connects and waits until that has succeeded. Rejects with a typed error when the client has stopped instead. */
export async function connect(url: string, options: Credentials & Options): Promise<Client> {
  const { signal } = options;
  if (signal?.aborted === true) throw aborted();
  const client = await open(url, options);
  const abort = (): void => void client.close();
  signal?.addEventListener("abort", abort);
  try {
    await client.ready();
    return client;
  } catch (error) {
    signal?.removeEventListener("abort", abort);
    throw signal?.aborted ? aborted() : error;
  }
}

/** The same without waiting: the client connects in the background, and `state` tells how that goes. */
export async function open(url: string, options: Credentials & Options): Promise<Client> {
  await loadCore();
  return options.account === undefined ? new Client(url, options, options) : openAccount(url, options.account, options);
}

/**
 * One tab at a time is the account's registered device, by the device's key; another takes over when that tab closes. The
 * others connect as ephemeral devices, by the account's tokens, so that tabs never displace each other.
 */
async function openAccount(url: string, account: Account, options: Options): Promise<Client> {
  const [key, { deviceId }] = [await account.deviceKey(), account];
  const { deviceId: _, ...others } = options;
  if (key === undefined || deviceId === undefined) return new Client(url, { account }, others);
  const [lock, release] = [`${account.lockName}:device`, new AbortController()];
  const isDevice = await tryHold(lock, release.signal);
  const client = isDevice ? new Client(url, { key }, { ...others, deviceId }) : new Client(url, { account }, others);
  client.on("state", (state) => {
    if (state === "closed") release.abort();
  });
  if (!isDevice) hold(lock, release.signal, () => client.becomeDevice(key, deviceId));
  return client;
}

function aborted(): ConnectionError {
  return new ConnectionError(failure("aborted", "connecting was given up by the application"));
}

function proofOf(credentials: Credentials, timeout: number): Proof {
  const { key, token, account } = credentials;
  if (key !== undefined) return keyProof(key);
  const ask: TokenFunction | undefined = account === undefined ? token : (reason) => account.token(reason);
  if (typeof ask !== "function") {
    throw new OptionError(failure("bad_option", "one of `token`, `key` and `account` is needed"));
  }
  const source = new TokenSource(ask, timeout);
  return { kind: "token", token: (reason) => source.token(reason) };
}

function keyProof(key: Key): Proof & { kind: "key" } {
  return { kind: "key", publicKey: key.publicKey, sign: (bytes) => key.sign(bytes) };
}

function time(name: string, value: number | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (Number.isFinite(value) && value > 0) return value;
  throw new OptionError(failure("bad_option", `\`${name}\` is a number of milliseconds above 0`));
}
