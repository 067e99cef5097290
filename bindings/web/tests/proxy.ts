/** A network between clients and the server that can be cut. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isDown = false;
  #isSilent = false;
  accepted = 0;

  private constructor(port: number) {
    this.#server = createServer((client) => {
      this.accepted += 1;
      if (this.#isDown) return void client.destroy();
      const server = connect(port, "127.0.0.1");
      for (const [from, to] of [[client, server], [server, client]] as const) {
        this.#sockets.add(from);
        from.on("data", (data) => {
          if (!this.#isSilent) to.write(data);
        });
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on("error", () => undefined);
      }
    });
  }

  static async before(port: number): Promise<Proxy> {
    const proxy = new Proxy(port);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Cuts all connections and lets none through. */
  down(): void {
    this.#isDown = true;
    this.cut();
  }

  /** Bytes are lost from now on, and no connection ends: what a zombie socket is on. */
  silence(): void {
    this.#isSilent = true;
  }

  up(): void {
    [this.#isDown, this.#isSilent] = [false, false];
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async end(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
