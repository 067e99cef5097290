import { readFile } from "node:fs/promises";
import { usePlatform } from "./index.js";

usePlatform({
  wasm: () => readFile(new URL("./aldis_bg.wasm", import.meta.url)),
  webSocket: async () => globalThis.WebSocket ?? (await fromPackage()),
});

/** Node has a WebSocket of its own from version 22 on. */
async function fromPackage(): Promise<typeof WebSocket | undefined> {
  try {
    const { WebSocket } = await import("ws");
    return WebSocket as unknown as typeof globalThis.WebSocket;
  } catch {
    return undefined;
  }
}

export * from "./index.js";
