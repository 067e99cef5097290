import type { TokenReason } from "./state.js";
import { TokenError, failure, textOf } from "./errors.js";

/** Asked for an access token before each attempt, and again before one expires. */
export type TokenFunction = (reason: TokenReason) => string | Promise<string>;

/** Asks a token function, never twice at once, and not for longer than `timeout`. */
export class TokenSource {
  readonly #ask: TokenFunction;
  readonly #timeout: number;
  #asking: Promise<string> | undefined;

  constructor(ask: TokenFunction, timeout: number) {
    this.#ask = ask;
    this.#timeout = timeout;
  }

  /** Rejects with a `TokenError` only. */
  token(reason: TokenReason): Promise<string> {
    this.#asking ??= this.#answer(reason).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #answer(reason: TokenReason): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tokenError("token_timed_out", "the token function did not answer in time")), this.#timeout);
    });
    try {
      const token: unknown = await Promise.race([Promise.resolve().then(() => this.#ask(reason)), late]);
      if (typeof token === "string" && token !== "") return token;
      throw tokenError("token_malformed", "the token function returned no text");
    } catch (error) {
      if (error instanceof TokenError) throw error;
      throw tokenError("token_failed", `the token function failed: ${textOf(error)}`, error);
    } finally {
      clearTimeout(timer);
    }
  }
}

function tokenError(code: string, message: string, cause?: unknown): TokenError {
  return new TokenError(failure(code, message, { isRetryable: true, needsCredentials: true }), cause);
}
