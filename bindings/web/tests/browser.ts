/** Headless Chromium, and a site that serves the package as it is published. */
import { createServer, type Server as HttpServer } from "node:http";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

const PACKAGE = join(import.meta.dirname, "../..");
const TYPES: Record<string, string> = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };
const PAGE = `<!doctype html><title>test</title>
<script type="module">
  import * as aldis from "/dist/index.js";
  globalThis.aldis = aldis;
  globalThis.unhandled = [];
  addEventListener("unhandledrejection", (event) => unhandled.push(String(event.reason)));
</script>`;

/** WebRTC may use the machine's own addresses unchanged. */
const FLAGS = ["--no-sandbox", "--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"];

export function launch(...args: string[]): Promise<Browser> {
  return chromium.launch({ executablePath: process.env["ALDIS_CHROMIUM"] ?? "/usr/bin/chromium", args: [...FLAGS, ...args] });
}

/** A site of its own origin. */
export class Site {
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
  }

  static async start(directory = PACKAGE): Promise<Site> {
    const server = createServer((request, response) => {
      const path = normalize(new URL(request.url ?? "/", "http://site").pathname);
      const type = TYPES[extname(path)] ?? "text/html";
      const content = path === "/" && directory === PACKAGE ? Promise.resolve(PAGE) : readFile(join(directory, path === "/" ? "index.html" : path));
      content.then(
        (body) => response.writeHead(200, { "content-type": type }).end(body),
        () => response.writeHead(404).end(),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Site(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(host = "127.0.0.1"): string {
    return `http://${host}:${this.port}/`;
  }

  /** A page that has loaded the package as `aldis`. */
  async opens(context: Browser | BrowserContext, host?: string): Promise<Page> {
    const page = await context.newPage();
    await page.goto(this.url(host));
    await page.waitForFunction(() => "aldis" in globalThis);
    return page;
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
