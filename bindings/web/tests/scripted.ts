/** A server that says what a test wants it to say. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

const TIMESTAMP = "2026-01-01T00:00:00.000Z";

export interface Said {
  readonly type: string;
  readonly id?: string;
  readonly [member: string]: unknown;
}

/** One connection of a client. */
export class Peer {
  readonly socket: WebSocket;
  readonly said: Said[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    // What a broken client socket reports is the client's affair.
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      this.said.push(JSON.parse(String(data)) as Said);
      this.#waiting.splice(0).forEach((look) => look());
    });
    socket.on("close", () => this.#waiting.splice(0).forEach((look) => look()));
  }

  say(frame: Record<string, unknown>): void {
    this.socket.send(JSON.stringify({ id: "s-1", timestamp: TIMESTAMP, ...frame }));
  }

  /** The next frame of this type; earlier ones are taken too. */
  async hears(type: string): Promise<Said> {
    for (;;) {
      const at = this.said.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.said.splice(0, at + 1)[at]!;
      if (this.socket.readyState !== this.socket.OPEN) throw new Error(`the client closed before it said ${type}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Lets the client in, whatever its token. */
  async greets(more: Record<string, unknown> = {}): Promise<void> {
    await this.hears("auth");
    this.say({ ...CONNECTED, ...more });
  }

  ack(request: Said, more: Record<string, unknown> = {}): void {
    this.say({ type: "ack", id: request.id, message: "done", status: "done", ...more });
  }
}

export const CONNECTED = {
  type: "connected",
  device_id: "phone",
  user_id: "00000000-0000-0000-0000-000000000001",
  message: "Connected to signaling server",
  session: { id: "01900000-0000-7000-8000-000000000007", resume_token: "cmVzdW1l", resume_window: 30, resumed: false, replayed: 0 },
  heartbeat: { interval: 30, timeout: 10 },
  limits: { max_message_bytes: 65536, max_encrypted_content_bytes: 48000, max_unanswered_requests: 128 },
};

export class Scripted {
  readonly #server: WebSocketServer;
  connections = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
  }

  /** Each connection runs the script with its number, from 1. A script whose client leaves is over. */
  static async start(script: (peer: Peer, number: number) => unknown): Promise<Scripted> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const scripted = new Scripted(server);
    server.on("connection", (socket) => {
      scripted.connections += 1;
      const peer = new Peer(socket);
      Promise.resolve(script(peer, scripted.connections)).catch(() => undefined);
    });
    return scripted;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async end(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
