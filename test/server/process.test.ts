/** The commands as a person uses them, one after the other: each is a process of its own. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sdk } from "../channels/support.js"
import { client, endpoint, get, refusal, run, start } from "./Program.js"

/** A file with this text. */
const file = (name: string, text: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "hub-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
    ),
    (directory) => {
      const path = join(directory, name)
      writeFileSync(path, text)
      return path
    }
  )

/** What a command prints that succeeds and complains of nothing. */
const printed = (args: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) =>
  Effect.map(run(args, environment), ({ code, stderr, stdout }) => {
    assert.deepStrictEqual([code, stderr], [0, ""])
    return stdout
  })

describe("a configuration", () => {
  it.scopedLive(
    "that gen-config prints is right, is served, and lets in who has a token or a key of it",
    () =>
      Effect.gen(function*() {
        const text = yield* printed(["gen-config"])
        const path = yield* file("hub.yaml", text)
        const [, secret = ""] = /hmacSecret: (\S+)/.exec(text) ?? []
        const [, key = ""] = /keys: \[(\S+)\]/.exec(text) ?? []

        const summary = yield* printed(["check-config", "--config", path])
        assert.include(summary, `http.port = 8000 [${path}]\n`)
        assert.include(summary, `client.token.hmacSecret = (hidden) [${path}]\n`)
        for (const hidden of [secret, key]) {
          assert.notStrictEqual(hidden, "")
          assert.notInclude(summary, hidden)
        }

        const named = { HUB_CONFIG: path }
        const token = (yield* printed(["gen-token", "--user", "ada"], named)).trim()
        const server = yield* start([], named)
        const ada = yield* sdk({ url: server.ws(endpoint) }, { token })
        yield* ada.connect
        const sub = yield* ada.subscribe("news:sport")
        const { body, status } = yield* get(`${server.url}/api/publish`, {
          method: "POST",
          headers: { "x-api-key": key },
          body: JSON.stringify({ channel: "news:sport", data: "goal" })
        })
        assert.strictEqual(status, 200, body)
        assert.deepStrictEqual(yield* sub.data(1), ["goal"])
        const stranger = yield* sdk({ url: server.ws(endpoint) })
        stranger.client.connect()
        assert.deepInclude(yield* stranger.next("disconnected"), { code: 3501 })
        yield* server.signal("SIGTERM")
        assert.strictEqual((yield* server.exit).code, 0)
      }),
    120_000
  )

  it.scopedLive("of JSON too", () =>
    Effect.gen(function*() {
      const path = yield* file("hub.json", yield* printed(["gen-config", "--format", "json"]))
      assert.include(yield* printed(["check-config"], { HUB_CONFIG: path }), `http.port = 8000 [${path}]\n`)
    }))

  it.scopedLive("that is wrong is told line by line, and neither checked nor served as right", () =>
    Effect.gen(function*() {
      const path = yield* file(
        "hub.yaml",
        "http: { prot: 1, host: 5 }\nlimits: { outboxBytes: 0 }\nclient: { allowAnonymous: true }\n"
      )
      const lines = [
        `${path}: http.prot: there is no such key; did you mean port?`,
        `${path}: http.host: expected an IP address or a host name, got 5.`,
        `${path}: limits.outboxBytes: expected a whole number above 0 (it cannot be switched off), got 0.`
      ]
      for (
        const [args, environment] of [[["check-config", "--config", path], {}], [["serve"], {
          HUB_CONFIG: path
        }]] as const
      ) {
        const { code, stderr, stdout } = yield* run(args, environment)
        assert.deepStrictEqual([code, stdout], [1, ""])
        assert.sameMembers(stderr.trimEnd().split("\n"), lines.map((line) => `effect-ws-hub: ${line}`))
      }
    }))

  it.scopedLive("that is not there is told, by the name that was given", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["check-config"], { HUB_CONFIG: "nowhere/hub.yml" })
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.strictEqual(stderr, "effect-ws-hub: nowhere/hub.yml: there is no such file.\n")
    }))

  it.scopedLive("is what the file says, less what variables say, less what flags say", () =>
    Effect.gen(function*() {
      const path = yield* file(
        "hub.yml",
        "http: { host: 127.0.0.2, port: 1, allowedOrigins: ['https://file.example'] }\nlimits: { messageBytes: 10 }\n"
      )
      const server = yield* start(["--config", path, "--port", "0", "--host", "127.0.0.4"], {
        HUB_CONFIG: "nowhere.yaml",
        HUB_PORT: "2",
        HUB_HOST: "127.0.0.3",
        HUB_MESSAGE_BYTES: "100"
      })
      assert.strictEqual(server.url, `http://127.0.0.4:${server.port}`)
      assert.strictEqual((yield* refusal(server.ws(endpoint), { origin: server.url })).status, 403)
      const peer = yield* client(server, { origin: "https://file.example" })
      yield* peer.send(JSON.stringify({ connect: {}, id: 1 }).padEnd(100))
      assert.include(String(yield* peer.take), "\"connect\":")
      yield* peer.send(" ".repeat(101))
      assert.strictEqual((yield* peer.closed).code, 1009)
    }))
})

describe("the command line", () => {
  it.scopedLive("--completions prints what bash completes commands and options with", () =>
    Effect.gen(function*() {
      const path = yield* file("completions.bash", yield* printed(["--completions", "bash"]))
      const complete = (word: string) => {
        const script = `source "$0"; COMP_WORDS=(effect-ws-hub "$1"); COMP_CWORD=1
          "$(complete -p effect-ws-hub | sed -E 's/.*-F ([^ ]+).*/\\1/')" effect-ws-hub; printf '%s\\n' "\${COMPREPLY[@]}"`
        return execFileSync("bash", ["-c", script, path, word], { encoding: "utf8" }).trim().split("\n")
      }
      assert.sameMembers(complete("gen-"), ["gen-config", "gen-token"])
      assert.deepStrictEqual(complete("--client-q"), ["--client-queue-max-size"])
    }))

  it.live("--help after a command is the command's", () =>
    Effect.gen(function*() {
      const help = yield* printed(["gen-token", "--help"])
      assert.match(help, /^effect-ws-hub \S+: Prints a token for a client/)
      assert.match(help, /^ {2}--ttl TIME +How long the token is valid; 0 for ever \[1 hour\]$/m)
      assert.notInclude(help, "What it serves:")
    }))
})
