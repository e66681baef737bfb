/**
 * What a presence does, said as simply as possible, and random operations to compare it with.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { BrokerError } from "../channels/Broker.js"
import { Presence } from "../channels/Presence.js"
import type { ClientInfo } from "../channels/Publication.js"
import {
  checkProperty,
  freshName,
  type Law,
  type LawBroken,
  type LawOptions,
  millisNow,
  type Same,
  sameFor,
  tickOf
} from "./Law.js"

/** @internal */
export const info = (client: string, user: string, more?: Partial<ClientInfo>): ClientInfo => ({
  client,
  user,
  ...more
})

type Operation =
  | {
    readonly _tag: "add"
    readonly channel: number
    readonly client: number
    readonly user: number
    readonly ttl: number
  }
  | { readonly _tag: "remove"; readonly channel: number; readonly client: number }
  | { readonly _tag: "wait"; readonly ticks: number }

const channel = FastCheck.nat(1)
const client = FastCheck.nat(3)

/** Leases end between two ticks, so that a clock that is real need not be exact. */
const operation: FastCheck.Arbitrary<Operation> = FastCheck.oneof(
  {
    weight: 4,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("add" as const),
      channel,
      client,
      user: FastCheck.nat(2),
      ttl: FastCheck.constantFrom(1.5, 3.5)
    })
  },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constant("remove" as const), channel, client }) },
  {
    weight: 2,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("wait" as const), ticks: FastCheck.constantFrom(1, 2) })
  }
)

/** A lease of the model: it ends between two times, since making it takes time. */
interface Lease {
  readonly info: ClientInfo
  readonly from: number
  readonly to: number
}

const usersOf = (leases: ReadonlyArray<Lease>): number => new Set(leases.map(({ info }) => info.user)).size

/** Fails unless all are there whose lease is not over, nobody whose lease is over, and of the others as many as are counted. */
const checkLeases = (
  same: Same,
  channel: string,
  leases: ReadonlyArray<Lease>,
  time: Effect.Effect<number>,
  inaccuracy: number
): Effect.Effect<void, LawBroken | BrokerError, Presence> =>
  Effect.gen(function*() {
    const presence = yield* Presence
    const before = (yield* time) - inaccuracy
    const counts = [yield* presence.stats(channel)]
    const found = yield* presence.get(channel)
    counts.push(yield* presence.stats(channel))
    const after = (yield* time) + inaccuracy
    const certain = leases.filter(({ from }) => after < from)
    const possible = leases.filter(({ to }) => before < to)
    const there = possible.filter((lease) => certain.includes(lease) || found.has(lease.info.client))
    yield* same("there", Object.fromEntries(found), Object.fromEntries(there.map(({ info }) => [info.client, info])))
    const clamp = (actual: number, least: number, most: number) => Math.min(Math.max(actual, least), most)
    for (const { clients, users } of counts) {
      yield* same("counted", { clients, users }, {
        clients: clamp(clients, certain.length, possible.length),
        users: clamp(users, usersOf(certain), usersOf(possible))
      })
    }
  })

const runOnce = <R>(
  operations: ReadonlyArray<Operation>,
  same: Same,
  options: LawOptions<R>
): Effect.Effect<void, LawBroken | BrokerError, R | Presence> =>
  Effect.gen(function*() {
    const presence = yield* Presence
    const tick = tickOf(options)
    const name = yield* freshName
    const model = [new Map<string, Lease>(), new Map<string, Lease>()]
    let now = 0
    // What is not waited for takes time too, where time is real.
    const start = yield* millisNow
    const time = Effect.map(millisNow, (millis) => Math.max(now * tick, millis - start))
    for (const operation of operations) {
      if (operation._tag === "wait") {
        yield* options.wait(operation.ticks * tick)
        now += operation.ticks
      } else {
        const there = model[operation.channel]
        const where = `${name}-${operation.channel}`
        const id = `client-${operation.client}`
        if (operation._tag === "add") {
          const ttl = operation.ttl * tick
          const one = info(id, `user-${operation.user}`, { chanInfo: now })
          const from = (yield* time) + ttl
          yield* presence.add(where, one, ttl)
          there?.set(id, { info: one, from, to: (yield* time) + ttl })
        } else {
          there?.delete(id)
          yield* presence.remove(where, info(id, ""))
        }
      }
      for (const [index, there] of model.entries()) {
        yield* checkLeases(same, `${name}-${index}`, Array.from(there.values()), time, tick / 10)
      }
    }
  })

/** @internal */
export const agreesWithModel = <R>(options: LawOptions<R>): Law<BrokerError, R | Presence> => {
  const name = "any operations in any order have the results that the laws predict"
  const { numRuns = 100, seed } = options
  return {
    name,
    check: checkProperty<BrokerError | LawBroken, R | Presence>(name, (run) =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(operation, { maxLength: 20 }),
          (operations) => run(runOnce(operations, sameFor(name), options))
        ),
        { numRuns, ...(seed === undefined ? {} : { seed }) }
      ))
  }
}
