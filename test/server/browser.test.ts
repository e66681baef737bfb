import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { type Browser, chromium, type Page } from "playwright-core"
import { start } from "./Program.js"

/** Debian's; another one can be named in the environment. */
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
const missing = !existsSync(executablePath)
const skipped = missing && process.env["CI"] === undefined
if (skipped) {
  process.stderr.write(
    `The tests of the page are skipped: there is no Chromium at ${executablePath}. ` +
      "Install it (apt-get install chromium), or name yours in CHROMIUM.\n"
  )
}

const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

const browser = Effect.acquireRelease(
  Effect.promise(() => chromium.launch({ executablePath, args })),
  (browser) => Effect.promise(() => browser.close())
)

interface Tab {
  readonly page: Page
  /** What a user's console would show in red. */
  readonly errors: Array<string>
  readonly requests: Set<string>
}

const open = (browser: Browser, url: string, options: Parameters<Browser["newPage"]>[0] = {}) =>
  Effect.promise(async (): Promise<Tab> => {
    const page = await browser.newPage(options)
    const errors: Array<string> = []
    const requests = new Set<string>()
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()))
    page.on("pageerror", (error) => errors.push(String(error)))
    page.on("request", (request) => requests.add(request.url()))
    await page.goto(url)
    return { page, errors, requests }
  })

/** Playwright's own waiting; it fails after half a minute. */
const shows = ({ page }: Tab, selector: string, text: string) =>
  Effect.promise(() => page.locator(selector, { hasText: text }).first().waitFor())

const says = ({ page }: Tab, text: string) =>
  Effect.promise(async () => {
    await page.getByLabel("Message", { exact: true }).fill(text)
    await page.keyboard.press("Enter")
  })

const texts = ({ page }: Tab, selector: string) => Effect.promise(() => page.locator(selector).allTextContents())

const connected = (tab: Tab) => shows(tab, "#status", "Connected")

describe.skipIf(skipped)("the page, in Chromium", () => {
  it.scopedLive("two tabs chat in a room, and see how many are there", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const chromium = yield* browser
      const ada = yield* open(chromium, `${url}/#tea`)
      yield* connected(ada)
      yield* shows(ada, "#count", "1 connection")
      const bob = yield* open(chromium, `${url}/#tea`)
      const eve = yield* open(chromium, url)
      for (const tab of [ada, bob]) yield* shows(tab, "#count", "2 connections")
      yield* shows(eve, "#count", "1 connection")

      yield* says(ada, "hello <b>bob</b> & <img src=x onerror=alert(1)>")
      yield* shows(bob, "#log li", "hello")
      yield* says(bob, "hello ada")
      for (const tab of [ada, bob]) {
        yield* shows(tab, "#log li", "hello ada")
        assert.deepStrictEqual(yield* texts(tab, "#log li"), [
          "hello <b>bob</b> & <img src=x onerror=alert(1)>",
          "hello ada"
        ])
        assert.deepStrictEqual(yield* texts(tab, "#log b, #log img"), [])
      }
      assert.deepStrictEqual(yield* texts(ada, "#log li.mine"), ["hello <b>bob</b> & <img src=x onerror=alert(1)>"])
      assert.deepStrictEqual(yield* texts(bob, "#log li.mine"), ["hello ada"])
      assert.deepStrictEqual(yield* texts(eve, "#log li"), [])

      yield* Effect.promise(() => bob.page.close())
      yield* shows(ada, "#count", "1 connection")
      for (const { errors, requests } of [ada, bob, eve]) {
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual([...requests].filter((request) => !request.startsWith("data:")).length, 1)
      }
    }))

  it.scopedLive("the field and the address change the room; bytes are shown and can be saved", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const chromium = yield* browser
      const ada = yield* open(chromium, `${url}/#one`)
      const bob = yield* open(chromium, `${url}/#two`, { colorScheme: "dark" })
      yield* Effect.all([connected(ada), connected(bob)])
      yield* Effect.promise(async () => {
        await ada.page.getByLabel("Room").fill("two")
        await ada.page.getByRole("button", { name: "Join" }).click()
        await ada.page.waitForURL("**/#two")
      })
      yield* shows(ada, "#count", "2 connections")
      yield* connected(ada)
      const buffer = Buffer.from([0, 1, 254, 255])
      yield* Effect.promise(() =>
        ada.page.locator("#file").setInputFiles({ name: "a.bin", mimeType: "application/octet-stream", buffer })
      )
      yield* shows(bob, "#log li", "Binary, 4 bytes")
      assert.deepStrictEqual(yield* texts(bob, "#log code"), ["00 01 fe ff"])
      const saved = yield* Effect.promise(async () => {
        const [download] = await Promise.all([bob.page.waitForEvent("download"), bob.page.getByText("save").click()])
        const chunks: Array<Uint8Array> = []
        for await (const chunk of await download.createReadStream()) chunks.push(chunk as Uint8Array)
        return Buffer.concat(chunks)
      })
      assert.deepStrictEqual(saved, buffer)
      assert.deepStrictEqual([...ada.errors, ...bob.errors], [])
    }))

  it.scopedLive("returns by itself after the server went away, and came back on its port", () =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const { exit, port, signal, url } = yield* Scope.extend(start(), first)
      const tab = yield* open(yield* browser, `${url}/#tea`)
      yield* connected(tab)
      yield* says(tab, "before")
      yield* shows(tab, "#log li.mine", "before")
      assert.deepStrictEqual(tab.errors, [])

      yield* signal("SIGTERM")
      assert.strictEqual((yield* exit).code, 0)
      yield* shows(tab, "#status", "Disconnected")
      yield* shows(tab, "#log li.note", "Disconnected (1001: server is going away)")
      assert.deepStrictEqual(yield* texts(tab, "#count"), [""])
      yield* Scope.close(first, Exit.void)

      yield* start(["--port", String(port)])
      yield* connected(tab)
      yield* shows(tab, "#count", "1 connection")
      yield* says(tab, "after")
      yield* shows(tab, "#log li.mine", "after")
      assert.deepStrictEqual(tab.errors.filter((error) => !error.includes("ERR_CONNECTION_REFUSED")), [])
    }))

  it.scopedLive("does not try while nobody looks at it", () =>
    Effect.gen(function*() {
      const { exit, signal, url } = yield* start()
      const tab = yield* open(yield* browser, "about:blank")
      const evaluate = (script: string) => Effect.promise(() => tab.page.evaluate<unknown>(script))
      const look = (hidden: boolean) =>
        evaluate(`
          Object.defineProperty(document, "hidden", { configurable: true, value: ${hidden} })
          document.dispatchEvent(new Event("visibilitychange"))
        `)
      yield* Effect.promise(async () => {
        await tab.page.clock.install()
        await tab.page.goto(`${url}/#tea`)
      })
      yield* connected(tab)
      yield* look(true)
      yield* evaluate(`
        window.attempts = 0
        window.WebSocket = class extends WebSocket {
          constructor(url) {
            super(url)
            attempts++
          }
        }
      `)
      yield* signal("SIGTERM")
      yield* exit
      yield* shows(tab, "#status", "Disconnected")
      yield* Effect.promise(() => tab.page.clock.runFor("10:00"))
      assert.strictEqual(yield* evaluate("attempts"), 0)
      yield* look(false)
      assert.isAbove(Number(yield* evaluate("attempts")), 0)
    }))
})
