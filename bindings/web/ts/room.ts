import type { CoreEvent } from "./core.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { OptionError, RequestError, failure } from "./errors.js";
import type { Shell } from "./shell.js";
import { members, roomMessage, senderOf, type Frame, type Json, type Receipt, type RoomMessage, type Sender } from "./wire.js";

/** Something that was said to those who are there at the moment; neither stored nor numbered. */
export interface RoomBroadcast {
  readonly room: string;
  readonly sender: Sender;
  readonly payload: Json;
}

/** A device that entered or left a room. */
export interface RoomMember {
  readonly room: string;
  readonly userId: string;
  readonly deviceId: string;
}

/** Who is in a room; `members` is null in a room of over 256 users. */
export interface RoomMembers {
  readonly room: string;
  readonly count: number;
  readonly members: readonly { readonly userId: string; readonly deviceIds: readonly string[] }[] | null;
}

/** What happens in a room. */
export type RoomEvents = {
  /** Each message once and in the order of its numbers, whatever breaks. */
  message: [RoomMessage];
  broadcast: [RoomBroadcast];
  members: [RoomMembers];
  joined: [RoomMember];
  left: [RoomMember];
  /** The state document of the room was set. */
  update: [{ readonly room: string; readonly revision: number; readonly state: Json }];
  /** The server no longer has these numbers. */
  missed: [{ readonly first: number; readonly last: number }];
  /** The server has lost its newest numbers; what it keeps comes again. */
  startedOver: [{ readonly newest: number }];
  /** The server refused to let a fresh session into the room. The client has left it. */
  lost: [RequestError];
};

/** A page of a room's history. */
export interface History {
  readonly messages: readonly RoomMessage[];
  /** Whether nothing newer is left. */
  readonly complete: boolean;
}

/** Messages that may wait in a stream of `Room.messages` before it holds its room. */
export const STREAM_CAPACITY = 256;

/** A room, as one client uses it. */
export class Room {
  /** Its name. */
  readonly name: string;
  readonly #shell: Shell;
  readonly #emitter: Emitter<RoomEvents>;
  readonly #streams = new Set<Stream>();

  /** @internal */
  constructor(name: string, shell: Shell, report: (error: Error) => void) {
    this.name = name;
    this.#shell = shell;
    this.#emitter = new Emitter(report);
  }

  /** Listens; returns what takes the listener away again. */
  on<Name extends keyof RoomEvents>(name: Name, listener: (...values: RoomEvents[Name]) => unknown): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /**
   * The messages from now on, as a stream with a bound of its own (256 by default). A stream that is full holds the room:
   * its next messages wait on the server, for the listeners too. The stream ends with the room or the client.
   */
  messages(options: { capacity?: number } = {}): AsyncIterableIterator<RoomMessage> {
    const capacity = options.capacity ?? STREAM_CAPACITY;
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new OptionError(failure("bad_option", "the capacity of a stream is a whole number from 1"));
    }
    const stream = new Stream(capacity, () => this.#drained(stream));
    if (this.#shell.state === "closed") stream.end();
    else this.#streams.add(stream);
    return stream;
  }

  /** Says something. Resolves when it is stored. */
  async send(content: string): Promise<Receipt & { readonly seq: number }> {
    const payload = { content };
    return members(await this.#shell.request({ type: "chat_message", room: this.name, payload }));
  }

  /** Says something to those who are there at the moment. */
  async broadcast(payload: Json): Promise<Receipt> {
    return members(await this.#shell.request({ type: "broadcast", room: this.name, payload }));
  }

  /** Reads messages with a number above `since`, at most `limit` (100 by default, 500 at most). */
  async history(since: number, limit?: number): Promise<History> {
    const frame = await this.#shell.request({
      type: "history",
      room: this.name,
      since,
      ...(limit === undefined ? {} : { limit }),
    });
    const messages = (frame["messages"] as Frame[]).map(roomMessage);
    return { messages, complete: frame["complete"] === true };
  }

  /** Leaves the room; nothing of it is told any more. */
  async leave(): Promise<void> {
    await this.#shell.request({ type: "leave", room: this.name });
    this.end();
  }

  /** @internal */
  handleFrame(frame: Frame): void {
    switch (frame.type) {
      case "chat_message":
        return this.#message(roomMessage(frame));
      case "broadcast":
        return this.#emitter.emit("broadcast", {
          room: this.name,
          sender: senderOf(frame),
          payload: frame["payload"] as Json,
        });
      case "room_members":
        return this.#emitter.emit("members", members(frame));
      case "member_joined":
        return this.#emitter.emit("joined", members(frame));
      case "member_left":
        return this.#emitter.emit("left", members(frame));
      case "room_update":
        return this.#emitter.emit("update", { room: this.name, ...(frame["payload"] as { revision: number; state: Json }) });
    }
  }

  /** @internal */
  handleEvent(event: CoreEvent): void {
    if (event.kind === "missed") this.#emitter.emit("missed", { first: event.first, last: event.last });
    else if (event.kind === "started_over") this.#emitter.emit("startedOver", { newest: event.newest });
    else if (event.kind === "not_restored") {
      this.#emitter.emit("lost", new RequestError(event.error));
      this.end();
    }
  }

  /** @internal */
  end(): void {
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }

  #message(message: RoomMessage): void {
    this.#emitter.emit("message", message);
    for (const stream of this.#streams) stream.push(message);
    if (this.#isHeld()) this.#shell.holdRoom(this.name);
  }

  #isHeld(): boolean {
    return [...this.#streams].some((stream) => stream.isFull);
  }

  #drained(stream: Stream): void {
    if (stream.isOver) this.#streams.delete(stream);
    if (!this.#isHeld()) this.#shell.releaseRoom(this.name);
  }
}

/** A queue of messages that is read with `for await`. */
class Stream implements AsyncIterableIterator<RoomMessage> {
  readonly #capacity: number;
  readonly #drained: () => void;
  readonly #queue: RoomMessage[] = [];
  readonly #readers: ((result: IteratorResult<RoomMessage>) => void)[] = [];
  #isOver = false;
  #wasFull = false;

  constructor(capacity: number, drained: () => void) {
    this.#capacity = capacity;
    this.#drained = drained;
  }

  get isFull(): boolean {
    return !this.#isOver && this.#queue.length >= this.#capacity;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  push(message: RoomMessage): void {
    const reader = this.#readers.shift();
    if (reader !== undefined) return reader({ done: false, value: message });
    this.#queue.push(message);
    this.#wasFull ||= this.isFull;
  }

  end(): void {
    this.#isOver = true;
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<RoomMessage>> {
    const value = this.#queue.shift();
    if (value === undefined) {
      if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve) => this.#readers.push(resolve));
    }
    if (this.#wasFull && this.#queue.length === 0) {
      this.#wasFull = false;
      this.#drained();
    }
    return Promise.resolve({ done: false, value });
  }

  return(): Promise<IteratorResult<RoomMessage>> {
    this.#queue.length = 0;
    this.end();
    this.#drained();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
