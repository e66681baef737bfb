/** Runs `examples/chat.ts` as its reader would, and chats in it, in a browser too. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { browser, open, shows, skipped, type Tab, texts } from "../browser.js"
import { connect, refused } from "../node/support.js"
import { start } from "./support.js"

const fill = ({ page }: Tab, label: string, text: string) =>
  Effect.promise(async () => {
    await page.getByLabel(label, { exact: true }).fill(text)
    await page.keyboard.press("Enter")
  })

describe("examples/chat.ts", () => {
  it.scopedLive("text and bytes go to everyone in the room, and their number to who watches it", () =>
    Effect.gen(function*() {
      const { child, exit, url } = yield* start("examples/chat.ts")
      const stats = yield* connect(`${url}/stats/tea`)
      assert.strictEqual(yield* stats.next, "0")
      const ada = yield* connect(`${url}/rooms/tea`)
      assert.strictEqual(yield* stats.next, "1")
      const bob = yield* connect(`${url}/rooms/tea`)
      assert.strictEqual(yield* stats.next, "2")
      const eve = yield* connect(`${url}/rooms/coffee`)

      for (const message of ["hello", new Uint8Array([0, 255, 10]), ""]) {
        yield* ada.send(message)
        for (const peer of [ada, bob]) assert.deepStrictEqual(yield* peer.next, message)
      }
      assert.strictEqual(yield* eve.ask("anyone?"), "anyone?") // and nothing of the other room before

      yield* ada.close()
      assert.strictEqual(yield* stats.next, "1")
      bob.ws.terminate()
      assert.strictEqual(yield* stats.next, "0")
      assert.strictEqual((yield* refused(`${url}/rooms/no%20such`)).status, 400)

      child.kill("SIGTERM")
      assert.strictEqual((yield* eve.closed).code, 1001)
      assert.strictEqual(yield* exit, 0)
    }))

  it.scopedLive("/echo sends text and bytes back", () =>
    Effect.gen(function*() {
      const { url } = yield* start("examples/chat.ts")
      const peer = yield* connect(`${url}/echo`)
      for (const message of ["hello", new Uint8Array([1, 2, 3])]) {
        assert.deepStrictEqual(yield* peer.ask(message), message)
      }
    }))

  it.scopedLive.skipIf(skipped)("two tabs chat, and see how many are there", () =>
    Effect.gen(function*() {
      const { url } = yield* start("examples/chat.ts")
      const page = `${url.replace("ws", "http")}/`
      const chromium = yield* browser
      const ada = yield* open(chromium, page, { viewport: { width: 360, height: 640 } })
      yield* shows(ada, "#state", "Connected")
      yield* shows(ada, "#count", "1 here")
      const bob = yield* open(chromium, page)
      for (const tab of [ada, bob]) yield* shows(tab, "#count", "2 here")

      const hostile = "hello <b>bob</b> & <img src=x onerror=alert(1)>"
      const long = "x".repeat(2000)
      yield* fill(ada, "Message", hostile)
      yield* shows(bob, "#said li", "hello")
      yield* fill(bob, "Message", long)
      yield* shows(ada, "#said li", long)
      const peer = yield* connect(`${url}/rooms/lobby`)
      yield* peer.send(new Uint8Array(3))
      for (const tab of [ada, bob]) {
        yield* shows(tab, "#said li", "(3 bytes)")
        yield* shows(tab, "#count", "3 here")
        assert.deepStrictEqual(yield* texts(tab, "#said li"), [hostile, long, "(3 bytes)"])
        assert.deepStrictEqual(yield* texts(tab, "#said b, #said img"), [])
      }
      const size = "(({ scrollHeight, scrollWidth }) => [scrollWidth, scrollHeight])(document.documentElement)"
      assert.deepStrictEqual(yield* Effect.promise(() => ada.page.evaluate<unknown>(size)), [360, 640])

      yield* fill(bob, "Room", "tea")
      yield* shows(ada, "#count", "2 here")
      yield* shows(bob, "#count", "1 here")
      yield* fill(ada, "Message", "for the lobby")
      assert.deepStrictEqual(yield* peer.take(2), [new Uint8Array(3), "for the lobby"])
      assert.deepStrictEqual(yield* texts(bob, "#said li"), [])
      yield* Effect.promise(() => ada.page.close())
      for (const { errors, requests } of [ada, bob]) {
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual([...requests].filter((request) => !request.startsWith("data:")), [page])
      }
    }))
})
