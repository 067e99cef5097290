import { Client, type Options } from "./client.js";
import { loadCore } from "./core.js";
import type { ConnectionState } from "./state.js";
import { Emitter, reportUnheard, type Unsubscribe } from "./emitter.js";
import { AldisError, ConnectionError, OptionError, RequestError, failure } from "./errors.js";
import type { Room } from "./room.js";
import type { TokenFunction } from "./tokens.js";
import type { RoomMessage } from "./wire.js";

/** Where a `WebSocketManager` stands. */
export type ManagerState = "disconnected" | "connecting" | "authenticating" | "authenticated" | "reconnecting";

export interface ManagerOptions extends Omit<Options, "deviceId" | "signal"> {
  token: TokenFunction;
  /** Messages that may wait while there is no connection; 100 by default, at most 128. */
  queueLimit?: number;
  /** The last number that the application has; without it, messages come from now on. */
  since?: number;
}

export type ManagerEvents = {
  state: [ManagerState, ConnectionError | undefined];
  message: [RoomMessage];
  error: [AldisError];
};

const STATES: Record<ConnectionState, ManagerState> = {
  connecting: "connecting",
  authenticating: "authenticating",
  connected: "authenticated",
  reconnecting: "reconnecting",
  closed: "disconnected",
};

/** One room over its own door, `/v1/chat/{room}`: the first message has the token, and the session is in the room. */
export class WebSocketManager {
  readonly #url: string;
  readonly #room: string;
  readonly #options: ManagerOptions;
  readonly #queueLimit: number;
  readonly #emitter: Emitter<ManagerEvents>;
  #client: Client | undefined;
  #joined: Room | undefined;
  #waiting = 0;
  #connecting: Promise<void> | undefined;
  #isLoading = false;

  constructor(url: string, room: string, options: ManagerOptions) {
    const queueLimit = options.queueLimit ?? 100;
    if (!Number.isInteger(queueLimit) || queueLimit < 0 || queueLimit > 128) {
      throw new OptionError(failure("bad_option", "`queueLimit` is a whole number from 0 to 128"));
    }
    [this.#url, this.#room, this.#options, this.#queueLimit] = [url, room, options, queueLimit];
    this.#emitter = new Emitter((error) => this.#report(error));
  }

  get state(): ManagerState {
    if (this.#isLoading) return "connecting";
    return this.#client === undefined ? "disconnected" : STATES[this.#client.state];
  }

  on<Name extends keyof ManagerEvents>(name: Name, listener: (...values: ManagerEvents[Name]) => unknown): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Connects; a second call waits for the first. Rejects when the server refuses for good. */
  connect(): Promise<void> {
    if (this.state === "authenticated") return Promise.resolve();
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** Says something. Without a connection it waits for one, unless `queueLimit` messages wait already. */
  async send(content: string): Promise<{ readonly seq: number }> {
    const room = this.#joined;
    if (room === undefined || this.state === "disconnected") {
      throw new RequestError(failure("not_connected", "call connect() first", { isRetryable: true }));
    }
    const mustWait = this.state !== "authenticated";
    if (mustWait && this.#waiting >= this.#queueLimit) {
      const message = `${this.#waiting} messages wait for a connection already`;
      throw new RequestError(failure("queue_full", message, { isRetryable: true }));
    }
    this.#waiting += 1;
    try {
      return await room.send(content);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Closes. Messages that wait are given up. */
  async disconnect(): Promise<void> {
    await this.#client?.close();
  }

  async #connect(): Promise<void> {
    if (this.#client === undefined || this.#client.state === "closed") await this.#start();
    await this.#client?.ready();
  }

  async #start(): Promise<void> {
    this.#isLoading = true;
    try {
      await loadCore();
    } finally {
      this.#isLoading = false;
    }
    const { token, since } = this.#options;
    const client = new Client(this.#url, { token }, this.#options, this.#room);
    this.#client = client;
    client.on("state", (state, why) => this.#emitter.emit("state", STATES[state], why?.error));
    client.on("error", (error) => this.#report(error));
    const room = client.room(this.#room);
    this.#joined = room;
    room.on("message", (message) => this.#emitter.emit("message", message));
    this.#emitter.emit("state", this.state, undefined);
    // The door has joined already; this begins to follow the room. Why it cannot is told as an error.
    client.join(this.#room, since === undefined ? {} : { since }).catch((error: unknown) => {
      if (client.state !== "closed" && error instanceof AldisError) this.#report(error);
    });
  }

  #report(error: AldisError): void {
    if (this.#emitter.has("error")) this.#emitter.emit("error", error);
    else reportUnheard(error);
  }
}
