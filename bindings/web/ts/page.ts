import type { Shell } from "./shell.js";

/** Tells the core when the page wakes up and whether there is a network. Returns what ends that. */
export function watchPage(shell: Shell, url: string): () => void {
  if (typeof globalThis.addEventListener !== "function") return () => undefined;
  const ends: (() => void)[] = [];
  const listen = (target: EventTarget, name: string, listener: () => void): void => {
    target.addEventListener(name, listener);
    ends.push(() => target.removeEventListener(name, listener));
  };
  const page = globalThis.document as Document | undefined;
  if (page !== undefined) {
    listen(page, "visibilitychange", () => {
      if (page.visibilityState === "visible") shell.wake();
    });
    listen(page, "resume", () => shell.wake());
  }
  listen(globalThis as unknown as EventTarget, "pageshow", () => shell.wake());
  // Without a network, this machine itself can still be reached.
  if (!isThisMachine(url)) {
    listen(globalThis as unknown as EventTarget, "online", () => shell.online(true));
    listen(globalThis as unknown as EventTarget, "offline", () => shell.online(false));
    if (globalThis.navigator?.onLine === false) shell.online(false);
  }
  return () => ends.splice(0).forEach((end) => end());
}

function isThisMachine(url: string): boolean {
  return /^[a-z]+:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:|\/|$)/i.test(url);
}
