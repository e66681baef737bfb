import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { client, endpoint, refusal, run, start } from "./Program.js"

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

describe("the command line", () => {
  it.live("--version is the package's", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* run(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" })
    }))

  it.live("--help, wherever it stands", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["--port", "1", "--help"])
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.deepStrictEqual(stdout.split("\n").filter((line) => /^\w.*:$/.test(line)), [
        "Commands:",
        "What it serves:",
        "Configuration:",
        "Server:",
        "Clients:",
        "Tokens:",
        "Connections:",
        "Messages:",
        "Stopping:",
        "HTTP API:",
        "Channels:",
        "Broker:",
        "Telemetry:",
        "Other:"
      ])
      assert.match(stdout, /^ {2}--port PORT +Port to listen on; 0 for any that is free \[8000\]$/m)
      assert.match(stdout, /^ {2}--message-bytes BYTES +Largest message a peer may send; cannot be 0 \[65536\]$/m)
      assert.match(stdout, /^ {2}--drain-deadline TIME +.* \[10 seconds\]$/m)
      assert.match(stdout, /HUB_MESSAGE_BYTES/)
    }))

  it.scopedLive("flags and variables set it up, and flags win", () =>
    Effect.gen(function*() {
      const server = yield* start(["--port", "0", "--message-bytes=100", "--allowed-origin", "https://a.example"], {
        HUB_PORT: "1",
        HUB_HOST: "127.0.0.2",
        HUB_MESSAGE_BYTES: "10",
        HUB_CONNECTIONS: "1"
      })
      const { port, url, ws } = server
      assert.strictEqual(url, `http://127.0.0.2:${port}`)
      assert.strictEqual((yield* refusal(ws(endpoint), { origin: url })).status, 403)
      const peer = yield* client(server, { origin: "https://a.example" })
      yield* peer.send(JSON.stringify({ connect: {}, id: 1 }).padEnd(100))
      assert.include(String(yield* peer.take), "\"connect\":")
      const { body, status } = yield* refusal(ws(endpoint))
      assert.deepStrictEqual([status, body], [
        503,
        "The hub is full: it serves 1 connections at most. Try again later."
      ])
      yield* peer.send(JSON.stringify({ connect: {}, id: 1 }).padEnd(101))
      assert.strictEqual((yield* peer.closed).code, 1009)
    }))

  const wrong: ReadonlyArray<
    readonly [args: ReadonlyArray<string>, environment: Record<string, string>, line: string]
  > = [
    [["--port", "http"], {}, "--port: expected a whole number from 0 to 65535, got \"http\"."],
    [
      [],
      { HUB_PORT: "tcp://10.0.0.1:80" },
      "HUB_PORT: expected a whole number from 0 to 65535, got \"tcp://10.0.0.1:80\"."
    ],
    [
      ["--port", "0"],
      { HUB_TRUSTED_PROXIES: "10.0.0.0/99" },
      "HUB_TRUSTED_PROXIES: expected IP addresses or CIDR ranges such as 10.0.0.0/8, got \"10.0.0.0/99\"."
    ],
    [
      ["--port", "0", "--host", "192.0.2.1", "--client-allow-anonymous"],
      {},
      "192.0.2.1 is not an address of this machine. Choose another one: --host or HUB_HOST."
    ]
  ]
  for (const [args, environment, line] of wrong) {
    it.live(`${[...Object.entries(environment).map((entry) => entry.join("=")), ...args].join(" ")}: one line, and exit code 1`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(args, environment)
        assert.deepStrictEqual({ code, stdout, stderr }, { code: 1, stdout: "", stderr: `effect-ws-hub: ${line}\n` })
      }))
  }

  it.scopedLive("a port in use: one line, and exit code 1", () =>
    Effect.gen(function*() {
      const { port } = yield* start()
      const { code, stderr, stdout } = yield* run(["--port", String(port)])
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.strictEqual(
        stderr,
        `effect-ws-hub: port ${port} of 127.0.0.1 is in use. Stop the program that uses it, or choose another port: --port or HUB_PORT.\n`
      )
    }))
})
