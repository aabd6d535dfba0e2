// SPDX-License-Identifier: Apache-2.0

// Answers one conformance case with @evervault/wasm-attestation-bindings.
//
// It speaks the hermetic contract of docs/guides/conformance.md: one JSON object on stdin, one on stdout, and
// the exit status says what it came to. The library knows AWS's root and the clock of the machine and no
// other; so the clock is set to the time of the case, and a case under another root is not for it. No
// PCRs are asked for, since the vectors' profile asks for none.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const AWS_ROOT = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b";

const asked = JSON.parse(readFileSync(0, "utf8"));
const anchor = Buffer.from(asked.anchor ?? "", "base64");
const library = new URL("./node_modules/@evervault/wasm-attestation-bindings/", import.meta.url);

function say(verdict, code, status) {
  process.stdout.write(JSON.stringify({ verdict, code }));
  process.exit(status);
}

if (asked.platform !== "nitro" || createHash("sha256").update(anchor).digest("hex") !== AWS_ROOT) {
  say("fail", "not this kind of evidence or not AWS's root", 20);
}
// What it says, it says to the console.
const said = [];
for (const name of ["log", "warn", "error"]) console[name] = (...words) => said.push(words.join(" "));
const at = Date.parse(asked.time);
Date.now = () => at;
const { initSync, validateAttestationDocPcrs } = await import(new URL("index.js", library));
initSync({ module: readFileSync(new URL("index_bg.wasm", library)) });
try {
  validateAttestationDocPcrs(asked.evidence, []) || say("fail", said.at(-1) ?? "false", 10);
} catch (problem) {
  say("fail", String(problem), 10);
}
say("pass", "", 0);
