import { RequestError, failure } from "./errors.js";
import { Call } from "./rtc.js";
import type { IceServer, IncomingSignal, Json, SignalKind } from "./wire.js";

/** What the calls of a client need of it. */
export interface CallsSide {
  ownDevice(): string;
  iceServers(): Promise<readonly IceServer[]>;
  signal(device: string, kind: SignalKind, payload: Json): Promise<unknown>;
  end(device: string): void;
  report(error: Error): void;
}

/** Signals that may wait for a call to be answered. */
const MAX_WAITING = 256;

/** The calls of a client: one with each device. Where both call each other at once, the two are one. */
export class Calls {
  readonly #side: CallsSide;
  readonly #calls = new Map<string, Call>();
  readonly #making = new Map<string, Promise<Call>>();
  /** The signals of devices with which no call is made yet. */
  readonly #waiting = new Map<string, IncomingSignal[]>();
  #isOver = false;

  constructor(side: CallsSide) {
    this.#side = side;
  }

  /** The call with a device; a new one where there is none. */
  async call(device: string, media: MediaStream | undefined): Promise<Call> {
    const there = this.#calls.get(device);
    if (there !== undefined) {
      if (media !== undefined) there.add(media);
      return there;
    }
    const making = this.#making.get(device) ?? this.#make(device, media);
    this.#making.set(device, making);
    try {
      return await making;
    } finally {
      this.#making.delete(device);
    }
  }

  /** Whether a signal belongs to a call. */
  take(signal: IncomingSignal): boolean {
    const { deviceId } = signal.sender;
    const call = this.#calls.get(deviceId);
    if (call !== undefined) {
      call.handle(signal);
      return true;
    }
    const waiting = this.#waiting.get(deviceId);
    if (waiting !== undefined && waiting.length < MAX_WAITING) waiting.push(signal);
    return waiting !== undefined;
  }

  /** Keeps the signals of a caller until the application has decided. */
  wait(offer: IncomingSignal): { accept(media: MediaStream | undefined): Promise<Call>; reject(): void } {
    const { deviceId } = offer.sender;
    const signals = [offer];
    this.#waiting.set(deviceId, signals);
    const isWaiting = (): boolean => this.#waiting.get(deviceId) === signals;
    return {
      accept: async (media) => {
        if (isWaiting() || this.#calls.has(deviceId)) return this.call(deviceId, media);
        throw new RequestError(failure("call_over", "this call has ended"));
      },
      reject: () => {
        if (!isWaiting()) return;
        this.#waiting.delete(deviceId);
        this.#side.signal(deviceId, "signal", { type: "bye" }).catch(() => undefined);
        this.#side.end(deviceId);
      },
    };
  }

  /** Looks for another way where a call has lost its own. */
  restart(): void {
    for (const call of this.#calls.values()) {
      if (call.connection.connectionState !== "connected" && call.connection.remoteDescription !== null) call.restart();
    }
  }

  close(): void {
    this.#isOver = true;
    for (const call of [...this.#calls.values()]) call.close();
    this.#waiting.clear();
  }

  async #make(device: string, media: MediaStream | undefined): Promise<Call> {
    // What comes meanwhile belongs to this call.
    const signals = this.#waiting.get(device) ?? [];
    this.#waiting.set(device, signals);
    try {
      const servers = await this.#side.iceServers();
      if (this.#isOver) throw new RequestError(failure("stopped", "the client has stopped"));
      const { signal, end, report } = this.#side;
      const call = new Call({ ownDevice: this.#side.ownDevice(), signal, end, report }, device, servers);
      this.#calls.set(device, call);
      call.on("ended", () => this.#calls.delete(device));
      if (media !== undefined) call.add(media);
      for (const signal of signals) call.handle(signal);
      return call;
    } finally {
      this.#waiting.delete(device);
    }
  }
}
