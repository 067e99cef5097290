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

/** The calls of a client: one with each device. */
export class Calls {
  readonly #side: CallsSide;
  readonly #calls = new Map<string, Call>();
  /** The signals of devices whose call is not answered yet. */
  readonly #waiting = new Map<string, IncomingSignal[]>();
  #isOver = false;

  constructor(side: CallsSide) {
    this.#side = side;
  }

  async call(device: string, media: MediaStream | undefined): Promise<Call> {
    const made = await this.#make(device);
    if (media !== undefined) made.add(media);
    return made;
  }

  /** Whether a signal belongs to a call. */
  take(signal: IncomingSignal): boolean {
    const { deviceId } = signal.sender;
    const call = this.#calls.get(deviceId);
    call?.handle(signal);
    const waiting = this.#waiting.get(deviceId);
    if (waiting !== undefined && waiting.length < MAX_WAITING) waiting.push(signal);
    return call !== undefined || waiting !== undefined;
  }

  /** Keeps the signals of a caller until the application has decided. */
  wait(offer: IncomingSignal): { accept(media: MediaStream | undefined): Promise<Call>; reject(): void } {
    const { deviceId } = offer.sender;
    const signals = [offer];
    this.#waiting.set(deviceId, signals);
    const isWaiting = (): boolean => this.#waiting.get(deviceId) === signals;
    return {
      accept: async (media) => {
        if (!isWaiting()) throw new RequestError(failure("call_over", "this call was answered or has ended"));
        const call = await this.#make(deviceId);
        if (media !== undefined) call.add(media);
        this.#waiting.delete(deviceId);
        for (const signal of signals) call.handle(signal);
        return call;
      },
      reject: () => {
        if (!isWaiting()) return;
        this.#waiting.delete(deviceId);
        this.#side.signal(deviceId, "signal", { type: "bye" }).catch(() => undefined);
        this.#side.end(deviceId);
      },
    };
  }

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

  async #make(device: string): Promise<Call> {
    const servers = await this.#side.iceServers();
    if (this.#isOver) throw new RequestError(failure("stopped", "the client has stopped"));
    this.#calls.get(device)?.close();
    const { signal, end, report } = this.#side;
    const call = new Call({ ownDevice: this.#side.ownDevice(), signal, end, report }, device, servers);
    this.#calls.set(device, call);
    call.on("ended", () => {
      if (this.#calls.get(device) === call) this.#calls.delete(device);
    });
    return call;
  }
}
