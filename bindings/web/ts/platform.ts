/** What differs between browsers and Node. */
export interface Platform {
  /** The WASM file, or what leads to it. */
  wasm(): Promise<Uint8Array | URL | undefined>;
  /** The constructor of WebSockets. */
  webSocket(): Promise<typeof WebSocket | undefined>;
}

let platform: Platform = {
  wasm: async () => undefined,
  webSocket: async () => globalThis.WebSocket,
};

export function usePlatform(other: Platform): void {
  platform = other;
}

export function currentPlatform(): Platform {
  return platform;
}
