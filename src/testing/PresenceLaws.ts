/**
 * The laws of presence, to check any implementation with.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { BrokerError } from "../channels/Broker.js"
import { Presence } from "../channels/Presence.js"
import type { ClientInfo } from "../channels/Publication.js"
import { freshName, inTime, type Law, law, type LawBroken, type LawOptions, type Same } from "./Law.js"
import { agreesWithModel, info } from "./PresenceModel.js"

/**
 * One of the laws of presence.
 *
 * @since 1.0.0
 * @category models
 */
export type PresenceLaw<R> = Law<BrokerError, R | Presence>

/** Fails unless exactly these are there, and counted so. */
const check = (
  same: Same,
  channel: string,
  expected: ReadonlyArray<ClientInfo>
): Effect.Effect<void, LawBroken | BrokerError, Presence> =>
  Effect.gen(function*() {
    const presence = yield* Presence
    const byClient = Object.fromEntries(expected.map((one) => [one.client, one]))
    const counted = { clients: expected.length, users: new Set(expected.map((one) => one.user)).size }
    // Counted twice: listing must not be what lets go of who has left.
    yield* same("counted", yield* presence.stats(channel), counted)
    yield* same("there", Object.fromEntries(yield* presence.get(channel)), byClient)
    yield* same("counted afterwards", yield* presence.stats(channel), counted)
  })

/**
 * The laws of presence, as data for any test runner. Each uses channels of its own, so they may share one implementation.
 * Where `wait` moves a clock that they share, they must not run at the same time.
 *
 * @since 1.0.0
 * @category testing
 */
export const laws = <R = never>(options: LawOptions<R>): ReadonlyArray<PresenceLaw<R>> => {
  const full = { connInfo: { name: "Ada", list: [1, null] }, chanInfo: "a" }

  const on = (
    name: string,
    body: (stage: {
      readonly presence: Presence["Type"]
      readonly channel: string
      readonly same: Same
      readonly tick: number
      readonly long: number
      readonly wait: (ticks: number) => Effect.Effect<unknown, never, R>
      readonly expect: (...there: ReadonlyArray<ClientInfo>) => Effect.Effect<void, LawBroken | BrokerError, Presence>
    }) => Effect.Effect<unknown, LawBroken | BrokerError, R | Presence>
  ): PresenceLaw<R> =>
    law(name, (same) =>
      inTime(options, (tick, wait) =>
        Effect.gen(function*() {
          const presence = yield* Presence
          const channel = yield* freshName
          return yield* body({
            presence,
            channel,
            same,
            tick,
            long: 600 * tick,
            wait,
            expect: (...there) => check(same, channel, there)
          })
        })))

  return [
    on(
      "1: a client is present from add until remove",
      ({ channel, expect, long, presence, same }) =>
        Effect.gen(function*() {
          const [ada, bob] = [info("1", "ada", full), info("2", "bob")]
          yield* expect()
          yield* presence.add(channel, ada, long)
          yield* presence.add(channel, bob, long)
          yield* expect(ada, bob)
          yield* check(same, `${channel}-2`, [])
          yield* presence.remove(channel, ada)
          yield* expect(bob)
          yield* presence.remove(channel, bob)
          yield* expect()
          yield* presence.add(channel, ada, long)
          yield* expect(ada)
        })
    ),

    on(
      "1: a lease ends ttl after it was made, and no other with it",
      ({ channel, expect, presence, tick, wait }) =>
        Effect.gen(function*() {
          const [ada, bob, eve] = [info("1", "ada"), info("2", "bob"), info("3", "eve")]
          yield* presence.add(channel, eve, 4 * tick)
          yield* presence.add(channel, ada, 2 * tick)
          yield* wait(1)
          yield* presence.add(channel, bob, 2 * tick)
          yield* wait(0.5)
          yield* expect(ada, bob, eve)
          yield* wait(1)
          yield* expect(bob, eve)
          yield* wait(1)
          yield* expect(eve)
          yield* wait(1)
          yield* expect()
        })
    ),

    on("2: add again renews the lease", ({ channel, expect, presence, tick, wait }) =>
      Effect.gen(function*() {
        const ada = info("1", "ada")
        for (let count = 0; count < 3; count++) {
          yield* presence.add(channel, ada, 2 * tick)
          yield* wait(1.5)
          yield* expect(ada)
        }
        yield* wait(1)
        yield* expect()
      })),

    on(
      "2: add again replaces the info, and never counts twice",
      ({ channel, expect, long, presence }) =>
        Effect.gen(function*() {
          const [first, second, other] = [
            info("1", "ada", full),
            info("1", "bob", { chanInfo: null }),
            info("2", "bob")
          ]
          yield* presence.add(channel, first, long)
          yield* presence.add(channel, first, long)
          yield* expect(first)
          yield* presence.add(channel, second, long)
          yield* expect(second)
          yield* presence.add(channel, other, long)
          yield* presence.remove(channel, second)
          yield* expect(other)
        })
    ),

    on(
      "3: stats counts clients, and distinct users among them",
      ({ channel, expect, long, presence }) =>
        Effect.gen(function*() {
          const all = [info("1", "ada"), info("2", "ada"), info("3", ""), info("4", ""), info("5", "bob")]
          yield* Effect.forEach(all, (one) => presence.add(channel, one, long), { discard: true })
          yield* expect(...all)
          yield* presence.remove(channel, info("1", "ada"))
          yield* expect(...all.slice(1))
          yield* presence.remove(channel, info("2", "ada"))
          yield* expect(...all.slice(2))
        })
    ),

    on("4: removing who is not there does nothing", ({ channel, expect, long, presence }) =>
      Effect.gen(function*() {
        const ada = info("1", "ada")
        yield* presence.remove(channel, ada)
        yield* expect()
        yield* presence.add(channel, ada, long)
        yield* presence.remove(channel, info("2", "ada"))
        yield* expect(ada)
        yield* presence.remove(channel, ada)
        yield* presence.remove(channel, ada)
        yield* expect()
      })),

    agreesWithModel(options)
  ]
}
