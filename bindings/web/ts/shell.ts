import { Connection, checked, seed, type CoreEvent, type Wanted } from "./core.js";
import type { ConnectionState, SessionInfo, TokenReason } from "./state.js";
import { AldisError, ConnectionError, RequestError, SignedOutError, failure, textOf, type Failure } from "./errors.js";
import { Socket } from "./socket.js";
import type { Frame } from "./wire.js";

/** What proves who the client is. */
export type Proof =
  | { kind: "token"; token(reason: TokenReason): Promise<string> }
  | { kind: "key"; publicKey: Uint8Array; sign(bytes: Uint8Array): Promise<Uint8Array> };

export interface ShellOptions {
  url: string;
  door: string | undefined;
  insecure: boolean;
  proof: Proof;
  deviceId: string | undefined;
  connectTimeout: number;
  requestTimeout: number;
  longestWait: number;
}

export interface ShellEvents {
  state(state: ConnectionState, why: ConnectionError | undefined, retryIn: number | undefined): void;
  session(session: SessionInfo): void;
  event(event: CoreEvent): void;
  store(frame: Frame): Promise<void>;
  cursor(seq: number): void;
}

interface Waiting {
  resolve(reply: Frame): void;
  reject(error: AldisError): void;
}

/** Requests that the server leaves unanswered at once. */
const MAX_UNANSWERED = 128;
/** Requests that may wait for one of those places. */
const MAX_WAITING = 1024;
const LONGEST_TIMER = 2 ** 31 - 1;

/** Carries out what the core wants, and tells it what happens. It holds no rule itself. */
export class Shell {
  readonly #core: Connection;
  readonly #options: ShellOptions;
  readonly #events: ShellEvents;
  readonly #requests = new Map<number, Waiting>();
  readonly #inLine: (() => void)[] = [];
  readonly #wanted: Wanted[] = [];
  #socket: Socket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Names the attempt that a token or signature is for; one for an earlier attempt is not reported. */
  #attempt = 0;
  #lastNumber = 0;
  #isCarryingOut = false;
  /** Why the last token or signature was missing, as the application threw it. */
  #cause: unknown;
  #state: ConnectionState = "connecting";

  /** Throws an `OptionError`. */
  constructor(options: ShellOptions, events: ShellEvents) {
    this.#options = options;
    this.#events = events;
    const { proof } = options;
    const settings = {
      url: options.url,
      door: options.door ?? null,
      isInsecure: options.insecure,
      publicKey: proof.kind === "key" ? [...proof.publicKey] : null,
      deviceId: options.deviceId ?? null,
      handshakeTimeout: options.connectTimeout,
      longestWait: options.longestWait,
    };
    this.#core = checked(() => new Connection(JSON.stringify(settings), seed(64)));
  }

  get state(): ConnectionState {
    return this.#state;
  }

  start(): void {
    this.#input((core) => core.start());
  }

  stop(): void {
    this.#input((core) => core.stop());
  }

  /** The page or computer may have slept, or the network changed. */
  wake(): void {
    this.#input((core) => core.take_wake());
  }

  online(isOnline: boolean): void {
    this.#input((core) => core.take_online(isOnline));
  }

  reconnectNow(): void {
    this.#input((core) => core.take_network_change());
  }

  /** Connects as this device from now on. */
  becomeDevice(proof: Proof & { kind: "key" }, deviceId: string): void {
    this.#options.proof = proof;
    this.#input((core) => checked(() => core.become_device(proof.publicKey, deviceId)));
  }

  keepMailbox(cursor: number): void {
    this.#input((core) => core.keep_mailbox(cursor));
  }

  endCall(deviceId: string): void {
    this.#input((core) => core.end_call(deviceId));
  }

  holdRoom(room: string): void {
    this.#input((core) => core.hold_room(room));
  }

  releaseRoom(room: string): void {
    this.#input((core) => core.release_room(room));
  }

  /** Makes a request. It rejects with a `RequestError`. */
  request(message: Record<string, unknown>, since?: number): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const begin = (): void => this.#begin(JSON.stringify(message), since, { resolve, reject });
      if (this.#requests.size < MAX_UNANSWERED || this.#state === "closed") begin();
      else if (this.#inLine.length < MAX_WAITING) this.#inLine.push(begin);
      else reject(new RequestError(failure("queue_full", "too many requests wait already", { isRetryable: true })));
    });
  }

  #begin(frame: string, since: number | undefined, waiting: Waiting): void {
    if (this.#state === "closed") {
      return waiting.reject(new RequestError(failure("stopped", "the client has stopped")));
    }
    this.#lastNumber = (this.#lastNumber + 1) % 2 ** 32;
    const number = this.#lastNumber;
    this.#requests.set(number, waiting);
    this.#input((core) => {
      try {
        checked(() => core.request(frame, since, this.#options.requestTimeout, number), RequestError);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        this.#settle(number, (it) => it.reject(error));
      }
    });
  }

  #settle(number: number, outcome: (waiting: Waiting) => void): void {
    const waiting = this.#requests.get(number);
    this.#requests.delete(number);
    if (waiting !== undefined) outcome(waiting);
    this.#inLine.shift()?.();
  }

  #input(act: (core: Connection) => void): void {
    if (this.#state === "closed") return;
    try {
      this.#core.set_time(performance.now(), Date.now());
      act(this.#core);
      const wanted = this.#core.outputs();
      if (wanted !== "") this.#wanted.push(...(JSON.parse(wanted) as Wanted[]));
    } catch (error) {
      return this.#crash(error);
    }
    if (this.#isCarryingOut) return;
    this.#isCarryingOut = true;
    try {
      for (let next = this.#wanted.shift(); next !== undefined; next = this.#wanted.shift()) this.#carryOut(next);
    } catch (error) {
      return this.#crash(error);
    }
    this.#isCarryingOut = false;
    this.#setTimer();
  }

  #carryOut(wanted: Wanted): void {
    switch (wanted.do) {
      case "ask_token":
        return void this.#askToken(wanted.reason);
      case "sign":
        return void this.#sign(new Uint8Array(wanted.bytes));
      case "dial":
        return this.#dial();
      case "send":
        return this.#socket?.send(wanted.frame);
      case "close":
        return this.#socket?.close();
      case "hang_up":
        return this.#hangUp();
      case "state":
        // The event that follows says why.
        if (wanted.state !== "reconnecting" && wanted.state !== "closed") this.#setState(wanted.state);
        return;
      case "session":
        return this.#events.session(wanted);
      case "tell":
        return wanted.event.kind === "closed" ? this.#ended(wanted.event) : this.#events.event(wanted.event);
      case "store":
        return void this.#store(wanted.frame);
      case "cursor":
        return this.#events.cursor(wanted.seq);
      case "settle":
        return this.#settle(wanted.request, (it) => it.resolve(wanted.reply));
      case "fail":
        return this.#settle(wanted.request, (it) => it.reject(new RequestError(wanted.error)));
    }
  }

  #setState(state: ConnectionState, why?: ConnectionError, retryIn?: number): void {
    this.#state = state;
    this.#events.state(state, why, retryIn);
  }

  #ended({ error, retryIn }: { error: Failure; retryIn?: number }): void {
    const cause = this.#cause;
    this.#cause = undefined;
    // What the application threw says more than the core's word for it.
    const said = cause instanceof AldisError ? { ...error, code: cause.code, message: cause.message } : error;
    const why = new ConnectionError({ ...said, isRetryable: retryIn !== undefined }, cause);
    if (retryIn === undefined) this.#finish(why);
    else this.#setState("reconnecting", why, retryIn);
  }

  #dial(): void {
    const { connectTimeout } = this.#options;
    this.#socket = new Socket(this.#core.url(), connectTimeout, {
      opened: () => this.#input((core) => core.take_dialed()),
      failed: (error, isTimeout) => this.#input((core) => core.take_dial_failed(error, isTimeout)),
      frame: (text) => this.#input((core) => core.take_frame(text)),
      closed: (code, reason) => this.#input((core) => core.take_closed(code, reason)),
      broken: (error) => this.#input((core) => core.take_broken(error)),
    });
  }

  #hangUp(): void {
    this.#attempt += 1;
    this.#socket?.hangUp();
    this.#socket = undefined;
  }

  async #askToken(reason: TokenReason): Promise<void> {
    const { proof } = this.#options;
    if (proof.kind !== "token") return;
    const attempt = this.#attempt;
    let act: (core: Connection) => void;
    try {
      const token = await proof.token(reason);
      act = (core) => core.take_token(token);
    } catch (error) {
      act = (core) => {
        this.#cause = error;
        core.take_no_token(textOf(error), error instanceof SignedOutError);
      };
    }
    if (attempt === this.#attempt) this.#input(act);
  }

  async #sign(bytes: Uint8Array): Promise<void> {
    const { proof } = this.#options;
    if (proof.kind !== "key") return;
    const attempt = this.#attempt;
    let act: (core: Connection) => void;
    try {
      const signature = await proof.sign(bytes);
      act = (core) => core.take_signature(signature);
    } catch (error) {
      act = (core) => {
        this.#cause = error;
        core.take_no_signature(textOf(error));
      };
    }
    if (attempt === this.#attempt) this.#input(act);
  }

  async #store(frame: Frame): Promise<void> {
    let act: (core: Connection) => void = (core) => core.take_stored();
    try {
      await this.#events.store(frame);
    } catch (error) {
      act = (core) => core.take_not_stored(textOf(error));
    }
    this.#input(act);
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    if (this.#state === "closed") return;
    const deadline = this.#core.next_timeout();
    if (deadline === undefined) return;
    const wait = Math.min(Math.max(deadline - performance.now(), 0), LONGEST_TIMER);
    this.#timer = setTimeout(() => this.#input((core) => core.take_timeout()), Math.ceil(wait));
  }

  /** The core panicked or the shell has a bug: nothing is left to go on with. */
  #crash(error: unknown): void {
    if (this.#state === "closed") return;
    this.#hangUp();
    this.#isCarryingOut = false;
    this.#wanted.length = 0;
    this.#finish(new ConnectionError(failure("internal", `the client core failed: ${textOf(error)}`), error));
  }

  #finish(why: ConnectionError): void {
    clearTimeout(this.#timer);
    this.#setState("closed", why);
    const stopped = new RequestError(failure("stopped", "the client has stopped"), why);
    for (const waiting of this.#requests.values()) waiting.reject(stopped);
    this.#requests.clear();
    for (const begin of this.#inLine.splice(0)) begin();
    this.#free();
  }

  /** Nothing calls the core of a client that has stopped. */
  #free(): void {
    try {
      this.#core.free();
    } catch {
      // A core that has panicked cannot be freed; its memory is lost with the page.
    }
  }
}
