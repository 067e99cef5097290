/** What would be published, and how it is loaded: by a page without a bundler, by Vite, by Node. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { Site, launch } from "./browser.js";
import { Server } from "./server.js";

const run = promisify(execFile);
const PACKAGE = join(import.meta.dirname, "../..");

interface Packed {
  readonly files: readonly { readonly path: string }[];
}

test("npm pack gives exactly what is published, and installing it runs nothing", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: PACKAGE });
  const packed = JSON.parse(stdout) as Packed[] | Record<string, Packed>;
  const files = Object.values(packed)[0]?.files.map(({ path }) => path) ?? [];
  const types = files.filter((path) => /^dist\/\w+\.d\.ts$/.test(path));
  assert.ok(types.includes("dist/index.d.ts"));
  assert.deepEqual(
    files.filter((path) => !types.includes(path)).sort(),
    ["README.md", "dist/LICENSE-APACHE", "dist/LICENSE-MIT", "dist/aldis_bg.wasm", "dist/index.js", "dist/node.js", "package.json"],
  );
  const { scripts, dependencies } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as Record<string, unknown>;
  assert.equal(scripts, undefined);
  assert.equal(dependencies, undefined);
});

/** A directory in which the package is installed. */
function installed(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "aldis-installed-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const target = join(directory, "node_modules/@aldis/client");
  mkdirSync(target, { recursive: true });
  cpSync(join(PACKAGE, "dist"), join(target, "dist"), { recursive: true });
  cpSync(join(PACKAGE, "package.json"), join(target, "package.json"));
  return directory;
}

test("the types stand alone, and none is `any`", async (t) => {
  const directory = installed(t);
  writeFileSync(join(directory, "main.ts"), `import { connect, type Client } from "@aldis/client"; export const made: Promise<Client> = connect("", { token: () => "" });`);
  const tsc = join(PACKAGE, "node_modules/.bin/tsc");
  const flags = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom", "--types", ""];
  await run(tsc, [...flags, "main.ts"], { cwd: directory });
  for (const name of readdirSync(join(directory, "node_modules/@aldis/client/dist")).filter((name) => name.endsWith(".d.ts"))) {
    const types = readFileSync(join(PACKAGE, "dist", name), "utf8").replace(/\/\*[^]*?\*\//g, "");
    assert.doesNotMatch(types, /\bany\b/, name);
  }
});

test("built by Vite, the package finds its WASM file", async (t) => {
  const directory = installed(t);
  writeFileSync(join(directory, "index.html"), `<!doctype html><script type="module" src="/main.js"></script>`);
  writeFileSync(join(directory, "main.js"), `import * as aldis from "@aldis/client"; globalThis.aldis = aldis;`);
  const { build } = await import("vite");
  await build({ root: directory, configFile: false, logLevel: "error" });
  const [server, site, browser] = await Promise.all([Server.start(), Site.start(join(directory, "dist")), launch()]);
  t.after(() => Promise.all([server.end(), site.end(), browser.close()]));
  const page = await site.opens(browser);
  const state = await page.evaluate(async (url) => {
    const aldis = (globalThis as unknown as { aldis: typeof import("@aldis/client") }).aldis;
    const client = await aldis.connect(url, { key: await aldis.generateKey() });
    return client.state;
  }, server.url);
  assert.equal(state, "connected");
});

test("the examples of the READMEs run as printed, in Node and in a page", async (t) => {
  const [server, site, browser] = await Promise.all([Server.start({ ALDIS_ROUTING: "open" }), Site.start(), launch()]);
  t.after(() => Promise.all([server.end(), site.end(), browser.close()]));
  const { transform } = await import("esbuild");
  const readmes = [join(PACKAGE, "README.md"), join(PACKAGE, "../../README.md")].map((path) => readFileSync(path, "utf8"));
  const examples = readmes.flatMap((text) => [...text.matchAll(/^```ts\n([^]*?)^```/gm)].map((match) => match[1] ?? ""));
  assert.ok(examples.length >= 5, `${examples.length} examples`);
  for (const [at, example] of examples.entries()) {
    const code = example.replaceAll("http://127.0.0.1:8000", server.url).replaceAll("ann@", `ann-${at}@`);
    const { code: script } = await transform(code, { loader: "ts", format: "esm", target: "es2022" });
    const file = join(import.meta.dirname, `readme-${at}.mjs`);
    writeFileSync(file, script);
    await run(process.execPath, [file], { timeout: 30_000 });
    const page = await site.opens(browser);
    const inPage = script.replaceAll("ann-", "page-").replaceAll('"@aldis/client"', JSON.stringify(`${site.url()}dist/index.js`));
    const outcome = await page.evaluate(async (script) => {
      const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
      return import(url).then(() => "done", (error: unknown) => String(error));
    }, inPage);
    assert.equal(outcome, "done", example);
    await page.close();
  }
});
