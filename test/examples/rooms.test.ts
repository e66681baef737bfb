/** Runs `examples/rooms.ts` as its reader would, and chats in it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect, refused } from "../node/support.js"
import { start } from "./support.js"

const json = (value: unknown) => JSON.stringify(value)

describe("examples/rooms.ts", () => {
  it.scopedLive("greets, tells who comes and goes, and stays within the room", () =>
    Effect.gen(function*() {
      const { child, exit, url } = yield* start("examples/rooms.ts")
      const ada = yield* connect(`${url}/rooms/tea?name=Ada`)
      assert.strictEqual(yield* ada.next, json({ _tag: "Welcome", names: ["Ada"] }))
      const bob = yield* connect(`${url}/rooms/tea?name=Bob`)
      assert.strictEqual(yield* bob.next, json({ _tag: "Welcome", names: ["Ada", "Bob"] }))
      assert.strictEqual(yield* ada.next, json({ _tag: "Joined", name: "Bob" }))
      const eve = yield* connect(`${url}/rooms/coffee?name=Eve`)
      assert.strictEqual(yield* eve.next, json({ _tag: "Welcome", names: ["Eve"] }))

      yield* bob.send(json({ text: "hello" }))
      assert.strictEqual(yield* ada.next, json({ _tag: "Said", name: "Bob", text: "hello" }))
      assert.strictEqual(yield* bob.next, json({ _tag: "Said", name: "Bob", text: "hello" }))

      const twice = yield* connect(`${url}/rooms/tea?name=Bob`)
      assert.deepStrictEqual(yield* twice.closed, { code: 4409, reason: "Bob is here already" })
      yield* bob.send("nonsense")
      assert.strictEqual((yield* bob.closed).code, 4400)
      assert.strictEqual(yield* ada.next, json({ _tag: "Left", name: "Bob" }))
      assert.strictEqual((yield* refused(`${url}/rooms/tea`)).status, 400)

      child.kill("SIGTERM")
      assert.strictEqual((yield* ada.closed).code, 1001)
      assert.strictEqual((yield* eve.closed).code, 1001)
      assert.strictEqual(yield* exit, 0)
    }), 30_000)
})
