import { is_polite } from "../wasm/aldis.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { AldisError, EnvironmentError, failure, textOf } from "./errors.js";
import type { IceServer, IncomingSignal, Json, SignalKind } from "./wire.js";

/** What a call needs of its client. */
export interface CallSide {
  readonly ownDevice: string;
  signal(device: string, kind: SignalKind, payload: Json): Promise<unknown>;
  end(device: string): void;
  report(error: Error): void;
}

export type CallEvents = {
  /** A track of the other side. */
  track: [MediaStreamTrack, readonly MediaStream[]];
  /** A data channel that the other side opened. */
  channel: [RTCDataChannel];
  state: [RTCPeerConnectionState];
  /** The call is over; `error` says why, unless one of the two sides ended it. */
  ended: [AldisError | undefined];
};

const BYE = { type: "bye" } as const;

/** Candidates that may wait for the description before them. */
const MAX_HELD = 256;

/**
 * A call with a device, by "perfect negotiation": either side may add tracks and channels at any time, and where both offer
 * at once the device whose id sorts lower yields.
 */
export class Call {
  /** The other device. */
  readonly device: string;
  /** The connection, for statistics and what else `RTCPeerConnection` can. */
  readonly connection: RTCPeerConnection;
  readonly #side: CallSide;
  readonly #emitter: Emitter<CallEvents>;
  readonly #isPolite: boolean;
  #held: RTCIceCandidateInit[] = [];
  #isOffering = false;
  #ignoresOffer = false;
  #isOver = false;
  #incoming: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(side: CallSide, device: string, iceServers: readonly IceServer[]) {
    if (typeof globalThis.RTCPeerConnection === "undefined") {
      throw new EnvironmentError(failure("no_webrtc", "there is no RTCPeerConnection here"));
    }
    [this.#side, this.device] = [side, device];
    this.#emitter = new Emitter((error) => side.report(error));
    this.#isPolite = is_polite(side.ownDevice, device);
    this.connection = new RTCPeerConnection({ iceServers: [...iceServers] as RTCIceServer[] });
    const { connection } = this;
    connection.onnegotiationneeded = () => void this.#offer();
    connection.onicecandidate = ({ candidate }) => {
      if (candidate !== null) this.#send("ice-candidate", candidate.toJSON() as Json);
    };
    connection.ontrack = ({ track, streams }) => this.#emitter.emit("track", track, streams);
    connection.ondatachannel = ({ channel }) => this.#emitter.emit("channel", channel);
    connection.onconnectionstatechange = () => this.#changed();
  }

  /** Listens; returns what takes the listener away again. */
  on<Name extends keyof CallEvents>(name: Name, listener: (...values: CallEvents[Name]) => unknown): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Sends the tracks of a stream. */
  add(stream: MediaStream): void {
    for (const track of stream.getTracks()) this.connection.addTrack(track, stream);
  }

  /** Opens a data channel. */
  channel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
    return this.connection.createDataChannel(label, options);
  }

  /** Looks for another way to the other side, as after a change of the network. */
  restart(): void {
    if (!this.#isOver) this.connection.restartIce();
  }

  /** Ends the call and tells the other side. */
  close(): void {
    if (!this.#isOver) this.#send("signal", BYE);
    this.#end(undefined);
  }

  /** @internal Signals are handled one after the other. */
  handle(signal: IncomingSignal): void {
    this.#incoming = this.#incoming.then(() => this.#take(signal)).catch((error: unknown) => this.#failed(error));
  }

  async #take({ kind, payload }: IncomingSignal): Promise<void> {
    if (this.#isOver) return;
    if (kind === "offer" || kind === "answer") await this.#describe(payload as unknown as RTCSessionDescriptionInit);
    else if (kind === "ice-candidate") await this.#candidate(payload as unknown as RTCIceCandidateInit);
    else if (isBye(payload)) this.#end(undefined);
  }

  async #offer(): Promise<void> {
    try {
      this.#isOffering = true;
      await this.connection.setLocalDescription();
      this.#sendDescription();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isOffering = false;
    }
  }

  async #describe(description: RTCSessionDescriptionInit): Promise<void> {
    const { connection } = this;
    const collides = description.type === "offer" && (this.#isOffering || connection.signalingState !== "stable");
    this.#ignoresOffer = !this.#isPolite && collides;
    if (this.#ignoresOffer) return void (this.#held = []);
    if (description.type === "answer" && connection.signalingState !== "have-local-offer") return;
    await connection.setRemoteDescription(description);
    for (const candidate of this.#held.splice(0)) await this.#candidate(candidate);
    if (description.type !== "offer") return;
    await connection.setLocalDescription();
    this.#sendDescription();
  }

  /** One that comes before the description that it belongs to is held. */
  async #candidate(candidate: RTCIceCandidateInit): Promise<void> {
    if (this.connection.remoteDescription === null) {
      if (!this.#ignoresOffer && this.#held.length < MAX_HELD) this.#held.push(candidate);
      return;
    }
    try {
      await this.connection.addIceCandidate(candidate);
    } catch (error) {
      if (!this.#ignoresOffer) throw error;
    }
  }

  #sendDescription(): void {
    const description = this.connection.localDescription;
    if (description !== null && !this.#isOver) {
      this.#send(description.type as SignalKind, { type: description.type, sdp: description.sdp });
    }
  }

  #send(kind: SignalKind, payload: Json): void {
    this.#side.signal(this.device, kind, payload).catch((error: unknown) => {
      // Without the description there is no call; a lost candidate or goodbye leaves one.
      if (kind !== "offer" && kind !== "answer") return;
      this.#end(error instanceof AldisError ? error : undefined);
    });
  }

  #changed(): void {
    const state = this.connection.connectionState;
    this.#emitter.emit("state", state);
    if (state === "failed") this.restart();
  }

  #failed(error: unknown): void {
    if (this.#isOver) return;
    this.#end(new AldisError(failure("call_failed", `the call failed: ${textOf(error)}`), error));
  }

  #end(error: AldisError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.connection.close();
    this.#side.end(this.device);
    this.#emitter.emit("ended", error);
  }
}

function isBye(payload: Json): boolean {
  return typeof payload === "object" && payload !== null && "type" in payload && payload.type === BYE.type;
}
