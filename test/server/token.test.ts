/** What `gen-token` prints is a token for the program. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sdk } from "../channels/support.js"
import { run, start } from "./Program.js"

const configFile = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "hub-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
  ),
  (directory) => {
    const file = join(directory, "hub.json")
    writeFileSync(file, JSON.stringify({ channels: { namespaces: { news: {} } } }))
    return file
  }
)

describe("gen-token", () => {
  it.scopedLive("its tokens connect and subscribe, and those of another secret do not", () =>
    Effect.gen(function*() {
      const file = yield* configFile
      const secret = (value: string) => ["--config", file, "--client-token-hmac-secret", value]
      const print = (value: string, ...flags: ReadonlyArray<string>) =>
        Effect.map(run(["gen-token", ...secret(value), "--user", "ada", ...flags]), ({ code, stderr, stdout }) => {
          assert.strictEqual(code, 0, stderr)
          return stdout.trim()
        })
      const good = "a-secret-that-is-long-enough-for-hs256"
      const [server, connection, subscription, other] = yield* Effect.all([
        start(secret(good)),
        print(good, "--channels", "news:a", "--ttl", "1 minute"),
        print(good, "--channel", "news:b"),
        print("another-secret-that-is-as-long-as-that", "--ttl", "0")
      ])
      const url = server.ws("/connection/websocket")
      const refused = yield* sdk({ url }, { token: other })
      refused.client.connect()
      assert.deepStrictEqual(yield* refused.next("disconnected"), { code: 3500, reason: "invalid token" })
      const client = yield* sdk({ url }, { token: connection })
      yield* client.connect
      assert.deepInclude(yield* client.next("subscribed"), { channel: "news:a" })
      assert.deepInclude(yield* client.sub("news:c").next("unsubscribed"), { code: 103 })
      yield* client.subscribe("news:b", { token: subscription })
    }))
})
