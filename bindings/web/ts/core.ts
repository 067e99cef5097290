import init, { Connection, initSync } from "../wasm/aldis.js";
import { EnvironmentError, OptionError, failure, textOf, type Failure } from "./errors.js";
import { currentPlatform } from "./platform.js";
import type { ConnectionState, SessionInfo, TokenReason } from "./state.js";
import type { Frame } from "./wire.js";

export { Connection };

/** What the core wants done (`src/output.rs`). */
export type Wanted =
  | { do: "ask_token"; reason: TokenReason }
  | { do: "sign"; bytes: number[] }
  | { do: "dial" | "close" | "hang_up" }
  | { do: "send"; frame: string }
  | { do: "state"; state: ConnectionState }
  | ({ do: "session" } & SessionInfo)
  | { do: "tell"; event: CoreEvent }
  | { do: "store"; frame: Frame }
  | { do: "cursor"; seq: number }
  | { do: "settle"; request: number; reply: Frame }
  | { do: "fail"; request: number; error: Failure };

/** What the core tells (`src/output.rs`). */
export type CoreEvent =
  | { kind: "connected" }
  | { kind: "closed"; error: Failure; retryIn?: number }
  | { kind: "auth_required"; expiresAt: string }
  | { kind: "reauthenticated"; expiresAt?: string }
  | { kind: "reauthentication_failed"; error: Failure }
  | { kind: "signal_refused"; reason: string; signal: string; deviceId: string; userId: string; total: number }
  | { kind: "missed"; room?: string; of?: string; first: number; last: number }
  | { kind: "started_over"; room?: string; of?: string; newest: number }
  | { kind: "not_stored"; error: string; messageId: string; retryIn: number }
  | { kind: "not_restored"; room?: string; of?: string; error: Failure }
  | { kind: "draining"; reconnectAfter: number }
  | { kind: "error"; code: string; message: string }
  | { kind: "frame"; frame: Frame };

let loaded: Promise<void> | undefined;

/** Loads the WASM file once. After a failure, the next call tries again. */
export function loadCore(): Promise<void> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<void> {
  if ((await currentPlatform().webSocket()) === undefined) {
    const message = "there is no WebSocket here: Node before version 22 needs the package ws";
    throw new EnvironmentError(failure("no_websocket", message));
  }
  try {
    const source = await currentPlatform().wasm();
    if (source instanceof Uint8Array) initSync({ module: source });
    else if (source === undefined) await init();
    else await init({ module_or_path: source });
  } catch (error) {
    throw new EnvironmentError(
      failure("wasm_unavailable", `the WASM file cannot be loaded: ${textOf(error)}`, { isRetryable: true }),
      error,
    );
  }
}

/** Seeds of the core, which has no randomness of its own. */
export function seed(bytes: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(bytes));
}

/** Runs a call that throws the text of a failure, as the core does. */
export function checked<T>(call: () => T, kind: new (failure: Failure) => Error = OptionError): T {
  try {
    return call();
  } catch (thrown) {
    if (typeof thrown === "string") throw new kind(JSON.parse(thrown) as Failure);
    throw thrown;
  }
}
