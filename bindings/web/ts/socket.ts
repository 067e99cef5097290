import { textOf } from "./errors.js";
import { currentPlatform } from "./platform.js";

/** What a socket reports, until it is hung up. */
export interface SocketEvents {
  opened(): void;
  failed(error: string, isTimeout: boolean): void;
  frame(text: string): void;
  closed(code: number, reason: string): void;
  broken(error: string): void;
}

/** No close frame came (RFC 6455, section 7.1.5). */
const ABNORMAL = 1006;
const CODEC = "aldis.v1.json";

/** One WebSocket, from the dial on. After `hangUp` it reports nothing more. */
export class Socket {
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOpen = false;
  #events: SocketEvents | undefined;

  constructor(url: string, timeout: number, events: SocketEvents) {
    this.#events = events;
    this.#timer = setTimeout(() => this.#fail("the server did not answer in time", true), timeout);
    void this.#dial(url);
  }

  send(frame: string): void {
    // A socket that is closing reports its end; what is sent meanwhile is sent again after the resume.
    if (this.#socket?.readyState === 1) this.#socket.send(frame);
  }

  close(): void {
    this.#socket?.close(1000);
  }

  hangUp(): void {
    this.#events = undefined;
    clearTimeout(this.#timer);
    this.#drop();
  }

  async #dial(url: string): Promise<void> {
    try {
      const Constructor = await currentPlatform().webSocket();
      if (this.#events === undefined) return;
      if (Constructor === undefined) return this.#fail("there is no WebSocket here", false);
      this.#listen(new Constructor(url, CODEC));
    } catch (error) {
      this.#fail(textOf(error), false);
    }
  }

  #listen(socket: WebSocket): void {
    this.#socket = socket;
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#isOpen = true;
      this.#events?.opened();
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === "string") this.#events?.frame(data);
      else this.#end((events) => events.broken("the server sent a binary frame"));
    };
    // Browsers close after an error. Node's own WebSocket may not.
    socket.onerror = () => {
      if (!this.#isOpen) this.#fail("the server cannot be reached", false);
      else this.#end((events) => events.broken("the connection broke"));
    };
    socket.onclose = ({ code, reason }) => {
      if (!this.#isOpen) this.#fail("the server cannot be reached", false);
      else if (code === ABNORMAL) this.#end((events) => events.broken("the connection ended without a close"));
      else this.#end((events) => events.closed(code, reason));
    };
  }

  #fail(error: string, isTimeout: boolean): void {
    this.#end((events) => events.failed(error, isTimeout));
  }

  #end(report: (events: SocketEvents) => void): void {
    const events = this.#events;
    this.hangUp();
    if (events !== undefined) report(events);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => undefined;
    if (socket.readyState < 2) socket.close();
  }
}
