import { public_key_of, sign_with } from "../wasm/aldis.js";
import { loadCore, seed } from "./core.js";
import { EnvironmentError, OptionError, StorageError, failure, textOf } from "./errors.js";
import { browserStorage, type KeyValueStorage } from "./storage.js";

/** A key that signs for a user or a device. WebCrypto's keys, hardware tokens and servers can all be one. */
export interface Key {
  /** The 32 bytes of an Ed25519 public key. */
  readonly publicKey: Uint8Array;
  /** Signs with Ed25519. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/**
 * How a key is stored: as a pair that cannot be read out, or, where WebCrypto has no Ed25519, as a secret that a key of
 * WebCrypto's seals.
 */
export type StoredKey = CryptoKeyPair | { readonly sealedBy: CryptoKey; readonly iv: Uint8Array; readonly secret: Uint8Array };

/** Makes an Ed25519 key that is not stored. It cannot be read out where WebCrypto has Ed25519. */
export async function generateKey(): Promise<Key> {
  return keyOf(await newKey());
}

/**
 * The key of this name in the browser's storage; makes it where there is none. A browser may clear its storage (Safari
 * does after 7 days without a visit): what only this key proves is lost then. `create: false` rejects with a
 * `StorageError` `key_missing` instead of making another.
 */
export async function storedKey(
  name: string,
  options: { create?: boolean; storage?: KeyValueStorage } = {},
): Promise<Key> {
  const storage = options.storage ?? browserStorage("aldis-keys");
  const stored = await storage.get<StoredKey>(name);
  if (stored !== undefined) return keyOf(stored);
  if (options.create === false) {
    throw new StorageError(failure("key_missing", `there is no key ${JSON.stringify(name)}: the storage was cleared`));
  }
  const made = await newKey();
  await storage.put(name, made);
  await persist();
  return keyOf(made);
}

/** The key in what was stored, or in a pair of WebCrypto's own. */
export async function keyOf(stored: StoredKey): Promise<Key> {
  const subtle = webCrypto();
  if ("sealedBy" in stored) return sealedKey(stored);
  if (stored.privateKey.algorithm.name !== "Ed25519") {
    throw new OptionError(failure("bad_key", `the key is one of ${stored.privateKey.algorithm.name}, not of Ed25519`));
  }
  const publicKey = new Uint8Array(await subtle.exportKey("raw", stored.publicKey));
  return {
    publicKey,
    sign: async (bytes) => new Uint8Array(await subtle.sign("Ed25519", stored.privateKey, bytes as BufferSource)),
  };
}

/** @internal */
export async function newKey(): Promise<StoredKey> {
  const subtle = webCrypto();
  try {
    return (await subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  } catch {
    return sealed(subtle);
  }
}

/** Asks the browser not to clear its storage by itself. It may refuse. */
export async function persist(): Promise<boolean> {
  try {
    return (await globalThis.navigator?.storage?.persist?.()) ?? false;
  } catch {
    return false;
  }
}

async function sealed(subtle: SubtleCrypto): Promise<StoredKey> {
  try {
    const sealedBy = await subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const [iv, secret] = [seed(12), seed(32)];
    const cipher = await subtle.encrypt({ name: "AES-GCM", iv: iv as BufferSource }, sealedBy, secret as BufferSource);
    secret.fill(0);
    return { sealedBy, iv, secret: new Uint8Array(cipher) };
  } catch (error) {
    throw new EnvironmentError(failure("no_keys", `this browser cannot make a key: ${textOf(error)}`), error);
  }
}

async function sealedKey({ sealedBy, iv, secret }: Exclude<StoredKey, CryptoKeyPair>): Promise<Key> {
  const open = async <T>(use: (secret: Uint8Array) => T): Promise<T> => {
    const opened = await webCrypto().decrypt({ name: "AES-GCM", iv: iv as BufferSource }, sealedBy, secret as BufferSource);
    const bytes = new Uint8Array(opened);
    try {
      return use(bytes);
    } finally {
      bytes.fill(0);
    }
  };
  await loadCore();
  return { publicKey: await open(public_key_of), sign: (bytes) => open((secret) => sign_with(secret, bytes)) };
}

function webCrypto(): SubtleCrypto {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (subtle !== undefined) return subtle;
  const message = "keys need a secure context: serve the page over https, or from localhost";
  throw new EnvironmentError(failure("insecure_context", message));
}
