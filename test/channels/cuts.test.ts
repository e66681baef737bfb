import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { randomInt } from "node:crypto"
import { proxy } from "./proxy.js"
import { sdk, serve, token } from "./support.js"

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31))
const long = process.env["TEST_LONG"] !== undefined

/** What a subscriber saw: numbers in their order, and `null` where it was told that something may be missing. */
class Seen {
  readonly all: Array<number | null> = []
  recovered = 0
  readonly finished = Deferred.unsafeMake<void>(Effect.runSync(Effect.fiberId))

  publication(data: unknown): void {
    if (typeof data !== "number") Deferred.unsafeDone(this.finished, Effect.void)
    else this.all.push(data)
  }

  subscribed(context: { readonly wasRecovering: boolean; readonly recovered: boolean }): void {
    if (!context.wasRecovering) return
    if (context.recovered) this.recovered++
    else this.all.push(null)
  }

  /** Every number follows the one before it, unless a gap was told; none comes twice or late. */
  check(last: number, who: string): void {
    let before: number | undefined
    let told = false
    for (const value of this.all) {
      if (value === null) told = true
      else {
        if (before !== undefined) {
          if (told) assert.isAbove(value, before, `${who}: doubled or out of order`)
          else assert.strictEqual(value, before + 1, `${who}: lost, doubled or out of order`)
        }
        before = value
        told = false
      }
    }
    if (!told) assert.strictEqual(before, last, `${who}: the end is missing`)
  }
}

interface CutOptions {
  readonly clients: number
  readonly seconds: number
  /** Milliseconds until a client tries again. */
  readonly delay: number
}

const cut = (channel: string, { clients, delay, seconds }: CutOptions) =>
  Effect.gen(function*() {
    const server = yield* serve({ recoveryLimit: 0, hub: { messagesPerSecond: "off" } })
    const bad = yield* proxy(server.port, seed)
    const all = yield* Effect.forEach(
      Array.from({ length: clients }, (_, n) => n),
      (n) =>
        Effect.gen(function*() {
          const seen = new Seen()
          // A quarter is subscribed by the server.
          const serverSide = n % 4 === 0
          const claims = { user: `user ${n}`, ...(serverSide ? { subs: { [channel]: {} } } : {}) }
          const client = yield* sdk(bad, {
            token: token(claims),
            timeout: 1000,
            minReconnectDelay: delay,
            maxReconnectDelay: 2 * delay
          })
          if (serverSide) {
            client.client.on("publication", ({ data }) => seen.publication(data))
            client.client.on("subscribed", (context) => seen.subscribed(context))
          } else {
            const { sub } = client.sub(channel)
            sub.on("publication", ({ data }) => seen.publication(data))
            sub.on("subscribed", (context) => seen.subscribed(context))
          }
          client.client.connect()
          yield* client.next("connected")
          return { client, seen, who: `client ${n}${serverSide ? ", by the server" : ""}` }
        }),
      { concurrency: "unbounded" }
    )
    let last = 0
    yield* Effect.suspend(() => server.channels.publish(channel, ++last)).pipe(
      Effect.repeat(Schedule.intersect(Schedule.fixed("10 millis"), Schedule.recurs(seconds * 100)))
    )
    yield* bad.rest
    // Who was behind when it grew calm may have to try again; what is published now reaches everybody in the end.
    const tail = yield* Effect.fork(
      Effect.repeat(server.channels.publish(channel, "end"), Schedule.spaced("100 millis"))
    )
    yield* Effect.forEach(all, ({ seen }) => Deferred.await(seen.finished), { discard: true })
    yield* tail.interruptAsFork(yield* Effect.fiberId)
    for (const { seen, who } of all) seen.check(last, `seed ${seed}, ${who}`)
    const { cuts, resets, stalls } = bad.done
    return {
      cuts: cuts + resets,
      stalls,
      recovered: all.reduce((sum, { seen }) => sum + seen.recovered, 0),
      told: all.reduce((sum, { seen }) => sum + seen.all.filter((value) => value === null).length, 0)
    }
  })

describe(`twenty clients behind a line that cuts, stalls and delays (seed ${seed})`, () => {
  it.scopedLive("nothing is lost, doubled or out of order while the history holds it", () =>
    Effect.gen(function*() {
      const { cuts, recovered, stalls, told } = yield* cut("recovered:x", {
        clients: 20,
        seconds: long ? 15 : 8,
        delay: 5
      })
      assert.isAbove(cuts, 50)
      assert.isAbove(stalls, 20)
      assert.isAbove(recovered, 50)
      assert.strictEqual(told, 0)
    }))

  it.scopedLive("what the history no longer holds is told, and nothing else is lost", () =>
    Effect.gen(function*() {
      // While a client waits to try again, more is published than the three that are kept.
      const { told } = yield* cut("small:x", { clients: 20, seconds: 3, delay: 60 })
      assert.isAbove(told, 0)
    }))
})
