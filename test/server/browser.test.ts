import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { SignJWT } from "jose"
import { browser, open, shows, skipped, type Tab, texts } from "../browser.js"
import { eventuallyEffect } from "../node/support.js"
import { start } from "./Program.js"

/** Waits until the list has these channels, all of them subscribed. */
const lists = (tab: Tab, ...names: ReadonlyArray<string>) =>
  eventuallyEffect(Effect.map(texts(tab, "#channels button"), (shown) => shown.join("|") === names.join("|")))

const click = ({ page }: Tab, name: string) =>
  Effect.promise(() => page.getByRole("button", { name, exact: true }).click())

const fill = ({ page }: Tab, label: string, text: string) =>
  Effect.promise(async () => {
    await page.getByLabel(label, { exact: true }).fill(text)
    await page.keyboard.press("Enter")
  })

const says = (tab: Tab, text: string) => fill(tab, "Data", text)

const connected = (tab: Tab) => shows(tab, "#status", "Connected")

const subscribed = (tab: Tab) => shows(tab, ".log .note", "Subscribed")

const secret = "a-secret-that-is-long-enough-for-hs256"

const tokenFor = (user: string, channels: ReadonlyArray<string>) =>
  Effect.promise(() =>
    new SignJWT({ sub: user, channels }).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret))
  )

describe.skipIf(skipped)("the page, in Chromium", () => {
  it.scopedLive("two tabs in a channel see what each publishes, who is there, and who comes and goes", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const chromium = yield* browser
      const ada = yield* open(chromium, `${url}/#tea`)
      yield* subscribed(ada)
      yield* shows(ada, "#count", "1 here")
      const bob = yield* open(chromium, `${url}/#tea`, { colorScheme: "dark" })
      const eve = yield* open(chromium, url)
      for (const tab of [ada, bob]) yield* shows(tab, "#count", "2 here")
      yield* shows(ada, ".log .note", "joined")
      yield* shows(eve, "#count", "1 here")
      assert.deepStrictEqual(yield* texts(eve, "#channel"), ["lobby"])

      const hostile = "hello <b>bob</b> & <img src=x onerror=alert(1)>"
      yield* says(ada, hostile)
      yield* shows(bob, ".log .data", "hello")
      yield* Effect.promise(() => bob.page.getByLabel("Kind of data").selectOption("json"))
      yield* says(bob, "{\"to\": ")
      yield* shows(bob, "#refusal", "This is not JSON")
      yield* says(bob, "{\"to\": [1]}")
      for (const tab of [ada, bob]) {
        yield* shows(tab, ".log code", "{\"to\":[1]}")
        assert.deepStrictEqual(yield* texts(tab, ".log .data"), [hostile, "{\"to\":[1]}"])
        assert.deepStrictEqual(yield* texts(tab, ".log b, .log img"), [])
        assert.deepStrictEqual(yield* texts(tab, "#position"), ["offset 2"])
      }
      assert.deepStrictEqual(yield* texts(ada, ".log li.mine .data"), [hostile])
      assert.deepStrictEqual(yield* texts(bob, ".log li.mine .data"), ["{\"to\":[1]}"])
      assert.deepStrictEqual(yield* texts(bob, "#refusal"), [""])
      assert.deepStrictEqual(yield* texts(eve, ".log .data"), [])

      yield* Effect.promise(() => bob.page.close())
      yield* shows(ada, ".log .note", "left")
      yield* shows(ada, "#count", "1 here")
      for (const { errors, requests } of [ada, bob, eve]) {
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual([...requests].filter((request) => !request.startsWith("data:")).length, 1)
      }
    }))

  it.scopedLive("cut off and back, it shows what was recovered; who never was there reads the history", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const chromium = yield* browser
      const ada = yield* open(chromium, `${url}/#tea`)
      const bob = yield* open(chromium, `${url}/#tea`)
      yield* Effect.all([subscribed(ada), subscribed(bob)])
      yield* says(ada, "before")
      yield* shows(bob, ".log .data", "before")

      yield* Effect.promise(() => ada.page.clock.install())
      yield* click(ada, "Cut for 5 s")
      yield* shows(ada, "#status", "Away")
      yield* shows(bob, ".log .note", "left")
      for (const text of ["one", "two", "three"]) {
        yield* says(bob, text)
        yield* shows(bob, ".log .data", text)
      }
      assert.deepStrictEqual(yield* texts(ada, ".log .data"), ["before"])
      yield* Effect.promise(() => ada.page.clock.runFor(5000))
      yield* shows(ada, ".log .note", "Recovered (wasRecovering: true, recovered: true): 3 publications")
      assert.deepStrictEqual(yield* texts(ada, ".log .data"), ["before", "one", "two", "three"])
      assert.deepStrictEqual(yield* texts(ada, ".log li:not(.note) .tags"), [
        "offset 1",
        "offset 2, recovered",
        "offset 3, recovered",
        "offset 4, recovered"
      ])
      yield* click(ada, "Cut for 5 s")
      yield* click(ada, "Come back now")
      yield* shows(ada, ".log .note", "recovered: true): 0 publications")
      yield* says(bob, "after")
      yield* shows(ada, ".log .data", "after")
      assert.deepStrictEqual((yield* texts(ada, ".log li:not(.note) .tags")).at(-1), "offset 5")

      const eve = yield* open(chromium, `${url}/#tea`)
      yield* subscribed(eve)
      yield* click(eve, "History")
      yield* shows(eve, ".log .data", "after")
      assert.deepStrictEqual(yield* texts(eve, ".log .data"), ["before", "one", "two", "three", "after"])
      assert.deepStrictEqual([...ada.errors, ...bob.errors, ...eve.errors], [])
    }))

  it.scopedLive("the field, the list and the address change the channels", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const chromium = yield* browser
      const ada = yield* open(chromium, `${url}/#one`)
      yield* subscribed(ada)
      yield* fill(ada, "Channel", "two, too")
      yield* Effect.promise(() => ada.page.waitForURL("**/#one,two%2C%20too"))
      yield* subscribed(ada)
      const bob = yield* open(chromium, `${url}/#one,two%2C%20too`)
      yield* shows(bob, "#channel", "one")
      yield* shows(bob, "#count", "2 here")
      yield* says(bob, "in one")
      yield* shows(ada, "#channels .unread", "one")
      assert.deepStrictEqual(yield* texts(ada, ".log .data"), [])
      yield* Effect.promise(() => ada.page.locator("#channels .unread").click())
      yield* shows(ada, ".log .data", "in one")
      yield* shows(ada, "#channel", "one")

      yield* click(ada, "Unsubscribe")
      yield* shows(ada, "#channel", "two, too")
      yield* shows(bob, ".log .note", "left")
      yield* Effect.promise(() => ada.page.evaluate("location.hash = '#three'"))
      yield* shows(ada, "#channel", "three")
      yield* lists(ada, "three")
      yield* fill(ada, "Channel", "no-such-namespace:x")
      yield* shows(ada, ".log .note", "Not subscribed: unknown channel (102)")
      assert.deepStrictEqual([...ada.errors, ...bob.errors], [])
    }))

  it.scopedLive("names that the SDK cannot use are said, and the others work", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const ada = yield* open(yield* browser, `${url}/#__proto__,constructor,tea`)
      yield* subscribed(ada)
      yield* lists(ada, "tea")
      yield* shows(ada, "#unusable", "The SDK cannot subscribe to constructor")
      yield* fill(ada, "Channel", "toString")
      yield* shows(ada, "#unusable", "The SDK cannot subscribe to toString")
      yield* shows(ada, "#channel", "tea")
      yield* says(ada, "hello")
      yield* shows(ada, ".log .data", "hello")
      yield* fill(ada, "Channel", "two")
      yield* shows(ada, "#channel", "two")
      yield* lists(ada, "tea", "two")
      assert.deepStrictEqual(yield* texts(ada, "#unusable"), [""])
      assert.deepStrictEqual(yield* texts(ada, "#name:user-invalid"), [])
      const eve = yield* open(yield* browser, `${url}/#valueOf`)
      yield* connected(eve)
      yield* shows(eve, "#none", "Subscribe to a channel")
      yield* says(eve, "hello")
      yield* shows(eve, "#refusal", "Subscribe to a channel first.")
      yield* fill(eve, "Channel", "tea")
      yield* shows(eve, "#channel", "tea")
      yield* shows(ada, "#channels", "tea")
      assert.deepStrictEqual([...ada.errors, ...eve.errors], [])
    }))

  it.scopedLive("disconnected, it says so of its channels and of what is not published", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const ada = yield* open(yield* browser, `${url}/#tea,two`)
      yield* subscribed(ada)
      yield* shows(ada, "#count", "1 here")
      yield* click(ada, "Disconnect")
      yield* shows(ada, "#status", "Disconnected")
      yield* shows(ada, "#channels .tags", "not connected")
      assert.deepStrictEqual(yield* texts(ada, "#channels .tags"), ["not connected", "not connected"])
      yield* Effect.promise(() => ada.page.locator("#history:disabled").waitFor())
      assert.isFalse(yield* Effect.promise(() => ada.page.locator("#who").isVisible()))
      yield* says(ada, "kept")
      yield* shows(ada, "#refusal", "Not published: not connected.")
      assert.strictEqual(yield* Effect.promise(() => ada.page.getByLabel("Data", { exact: true }).inputValue()), "kept")
      yield* click(ada, "Connect")
      yield* connected(ada)
      yield* shows(ada, "#count", "1 here")
      yield* lists(ada, "tea", "two")
      yield* click(ada, "Publish")
      yield* shows(ada, ".log .data", "kept")
      assert.deepStrictEqual(yield* texts(ada, "#refusal"), [""])
      assert.deepStrictEqual(ada.errors, [])
    }))

  it.scopedLive("without a token, or with a wrong one, it says why it is not let in; with a good one it is", () =>
    Effect.gen(function*() {
      const { url } = yield* start([], {
        HUB_CLIENT_TOKEN_HMAC_SECRET: secret,
        HUB_CHANNELS: JSON.stringify({ withoutNamespace: { allowSubscribeForClient: true, presence: true } })
      })
      const tab = yield* open(yield* browser, `${url}/#tea`)
      yield* shows(tab, "#problem", "bad request (3501). It may want a token")
      yield* shows(tab, "#status", "Disconnected")
      yield* fill(tab, "Token", "not-a-token")
      yield* shows(tab, "#problem", "invalid token (3500). The token may be wrong or have expired.")
      yield* fill(tab, "Token", yield* tokenFor("ada", ["news", "tea"]))
      yield* connected(tab)
      yield* subscribed(tab)
      yield* shows(tab, "#channels", "news")
      yield* Effect.promise(() => tab.page.locator("#leave:disabled").waitFor())
      yield* lists(tab, "tea", "news")
      assert.deepStrictEqual(yield* texts(tab, ".log .bad"), [])
      assert.deepStrictEqual(yield* texts(tab, "#problem"), [""])
      yield* shows(tab, "#count", "No presence: permission denied (103)")
      yield* says(tab, "hello")
      yield* shows(tab, "#refusal", "Not published: permission denied (103)")
      assert.deepStrictEqual(tab.errors, [])
    }))

  it.scopedLive("returns by itself after the server went away, and says that it could not recover", () =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const { exit, port, signal, url } = yield* Scope.extend(start(), first)
      const tab = yield* open(yield* browser, `${url}/#tea`)
      yield* subscribed(tab)
      yield* says(tab, "before")
      yield* shows(tab, ".log li.mine", "before")
      assert.deepStrictEqual(tab.errors, [])

      yield* signal("SIGTERM")
      assert.strictEqual((yield* exit).code, 0)
      yield* shows(tab, "#status", "Connecting")
      yield* Scope.close(first, Exit.void)

      yield* start(["--port", String(port)])
      // The SDK tries again at once, instead of when its growing delay is over.
      yield* Effect.promise(() => tab.page.evaluate("dispatchEvent(new Event('online'))"))
      yield* connected(tab)
      yield* shows(tab, ".log .note", "Not recovered (wasRecovering: true, recovered: false)")
      yield* says(tab, "after")
      yield* shows(tab, ".log li.mine", "after")
      assert.deepStrictEqual(tab.errors.filter((error) => !error.includes("ERR_CONNECTION_REFUSED")), [])
    }))

  it.scopedLive("fits a screen of 360 pixels, and is used with the keyboard alone", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const tab = yield* open(yield* browser, `${url}/#a-channel-with-a-rather-long-name,two,three`, {
        viewport: { width: 360, height: 640 }
      })
      yield* subscribed(tab)
      const { page } = tab
      const evaluate = (script: string) => Effect.promise(() => page.evaluate<unknown>(script))
      const size = "(({ scrollHeight, scrollWidth }) => [scrollWidth, scrollHeight])(document.documentElement)"
      assert.deepStrictEqual(yield* evaluate(size), [360, 640])
      assert.deepStrictEqual(yield* evaluate("document.querySelector('nav').scrollWidth"), 360)
      assert.isAbove(Number(yield* evaluate("document.querySelector('#scroller').clientHeight")), 150)
      const focused =
        "(({ id, tagName, textContent }) => id || (tagName === 'BODY' ? tagName : textContent))(document.activeElement)"
      const stops: Array<unknown> = []
      for (let n = 0; n < 16; n++) {
        yield* Effect.promise(() => page.keyboard.press("Tab"))
        stops.push(yield* evaluate(focused))
      }
      assert.deepStrictEqual(stops, [
        ...["token", "Connect", "disconnect", "cut"],
        ...["name", "Subscribe", "a-channel-with-a-rather-long-name", "two", "three"],
        ...["history", "leave", "count", "scroller", "kind", "text", "send"]
      ])
      yield* Effect.promise(() => page.getByRole("button", { name: "two", exact: true }).press("Enter"))
      yield* shows(tab, "#channel", "two")
      assert.strictEqual(yield* evaluate(focused), "two")
    }))
})
