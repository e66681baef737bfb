/** Runs `examples/typed-channel.ts` as its reader would: a server, and two clients that talk. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { run, type Running, start } from "./support.js"

const file = "examples/typed-channel.ts"

const type = ({ child }: Running, line: string) => Effect.sync(() => child.stdin?.write(`${line}\n`))

describe(file, () => {
  it.scopedLive("says in the room what clients send, checked on both sides", () =>
    Effect.gen(function*() {
      const server = yield* start(file)
      const url = `${server.url}/connection/websocket`
      const ada = yield* run(file, url, "Ada", "tea", "hello", "all")
      assert.strictEqual(yield* Queue.take(ada.lines), "Ada: hello all")
      const bob = yield* run(file, url, "Bob", "tea", "hi")
      for (const one of [ada, bob]) assert.strictEqual(yield* Queue.take(one.lines), "Bob: hi")
      yield* type(bob, "/name Tea time")
      yield* type(bob, "bye")
      for (const one of [ada, bob]) {
        assert.deepStrictEqual(Array.from(yield* Queue.takeN(one.lines, 2)), ["Bob calls it Tea time", "Bob: bye"])
      }
      bob.child.stdin?.end()
      assert.strictEqual(yield* bob.exit, 0)

      const nobody = yield* run(file, url, "Eve", "no room", "hello")
      assert.strictEqual(yield* nobody.exit, 1)

      ada.child.kill("SIGTERM")
      assert.strictEqual(yield* ada.exit, 0)
      server.child.kill("SIGTERM")
      assert.strictEqual(yield* server.exit, 0)
    }), 60_000)
})
