import { call_answer, call_request } from "../wasm/aldis.js";
import { checked } from "./core.js";
import { CallError, textOf } from "./errors.js";

/** A request as the core wants it made. */
export interface Fetch {
  readonly url: string;
  readonly method: string;
  readonly headers: [string, string][];
  readonly body: string | null;
  readonly answerLimit: number;
}

/** An answer as the core takes it. */
export interface Answered {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
  readonly failed: string | undefined;
}

/** A server, and whether its URL may be an unencrypted one. */
export interface Where {
  readonly url: string;
  readonly insecure: boolean;
}

const TIMEOUT = 30_000;

/** Makes a call of the HTTP API and reads its answer. Rejects with a `CallError`. */
export async function call<T>(where: Where, method: string, path: string, body?: unknown, token?: string): Promise<T> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const request = checked(() => call_request(where.url, where.insecure, method, path, text, token), CallError);
  const { status, retryAfter, body: answer, failed } = await send(JSON.parse(request) as Fetch);
  const read = checked(() => call_answer(status, retryAfter, answer, failed), CallError);
  return (read === "" ? undefined : JSON.parse(read)) as T;
}

/** Never rejects: why there is no answer is part of it. */
export async function send(request: Fetch): Promise<Answered> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), TIMEOUT);
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: request.headers,
      body: request.body,
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: timeout.signal,
    });
    const body = await read(response, request.answerLimit);
    const failed = body === undefined ? "too_large" : undefined;
    const retryAfter = response.headers.get("retry-after") ?? undefined;
    return { status: response.status, retryAfter, body: body ?? "", failed };
  } catch (error) {
    const failed = timeout.signal.aborted ? "timed_out" : textOf(error);
    return { status: 0, retryAfter: undefined, body: "", failed };
  } finally {
    clearTimeout(timer);
  }
}

/** The text of an answer; none where that is larger than it may be. */
async function read(response: Response, limit: number): Promise<string | undefined> {
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  const [decoder, parts] = [new TextDecoder(), [] as string[]];
  let size = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    size += next.value.length;
    if (size > limit) {
      await reader.cancel();
      return undefined;
    }
    parts.push(decoder.decode(next.value, { stream: true }));
  }
  return parts.join("") + decoder.decode();
}
