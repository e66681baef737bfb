/**
 * One random life of channels on a rough network: clients come, subscribe, publish and leave in every way, and the
 * clients themselves check what they are told.
 */
import { Cause, Effect, Exit, Fiber, FiberId, FiberSet, Logger, LogLevel, Option, Scope, Stream } from "effect"
import { BrokerMemory, Channels, ChannelsLive, Disconnect, Hub, PresenceMemory } from "effect-ws-hub"
import { TestTransport, withChaos } from "effect-ws-hub/testing"
import { Authenticator, type Credentials } from "../../../src/channels/Authenticator.js"
import { Broker } from "../../../src/channels/Broker.js"
import * as Namespace from "../../../src/channels/Namespace.js"
import { Presence } from "../../../src/channels/Presence.js"
import { internalError } from "../../../src/channels/ProtocolCode.js"
import type { StreamPosition } from "../../../src/channels/Publication.js"
import { TurnScheduler } from "../../../src/core/Turn.js"
import { VirtualClock } from "../../../src/testing/VirtualClock.js"
import { kept, ModelClient, recoverable } from "./ModelClient.js"
import { calm, choices, Rough, yields } from "./Rough.js"

const options = {
  presence: true,
  joinLeave: true,
  forcePushJoinLeave: true,
  historySize: kept,
  historyTtl: "10 hours",
  forceRecovery: true
} as const

const namespaces = {
  hist: options,
  cache: { ...options, forceRecoveryMode: "cache" },
  plain: { presence: true, joinLeave: true, forcePushJoinLeave: true }
} as const

const channels = ["hist:a", "hist:b", "hist:s", "cache:a", "plain:a"]
const users = ["ann", "bob", "bob", "cat"]

const { stream } = Namespace.make("hist", options)

const turn = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** What a life was like, to see that the lives together are worth something. */
export interface Told {
  readonly violations: ReadonlyArray<string>
  readonly log: ReadonlyArray<string>
  readonly clients: ReadonlyArray<ModelClient>
  readonly read: number
}

export const life = (seed: number): Effect.Effect<Told> =>
  Effect.gen(function*() {
    const pick = choices(seed)
    const log: Array<string> = []
    const clock = new VirtualClock()
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const text = `${String(message)} ${Cause.isEmpty(cause) ? "" : Cause.pretty(cause)}`
      if (Cause.defects(cause).length > 0 || LogLevel.greaterThanEqual(logLevel, LogLevel.Fatal)) defects.push(text)
    })
    const defects: Array<string> = []

    const body = Effect.gen(function*() {
      const network = yield* BrokerMemory.MemoryNetwork.make
      const innerPresence = yield* PresenceMemory.make
      const rough = yield* Rough.make(network, innerPresence, pick, log)
      const witness = network.node()
      yield* rough.record(witness, channels)
      rough.roughness = [
        calm,
        { fails: 8, stalls: 0, loses: 0 },
        { fails: 0, stalls: 0, loses: 8 },
        { fails: 4, stalls: 4, loses: 4 }
      ][pick(4)] ?? calm
      rough.isLossless = rough.roughness.loses === 0
      const hub = yield* Hub.make({ closeGrace: [0, 100, 5000][pick(3)] ?? 0, heartbeatInterval: "off" })
      const inside = yield* Scope.make()
      const authenticator: Authenticator["Type"] = {
        connect: ({ token }) =>
          Effect.zipRight(
            yields(pick(5)),
            Effect.succeed<Credentials>({
              user: token,
              clientRefresh: false,
              subscriptions: new Map(token === "ann" ? [["hist:s", {}]] : [])
            })
          ),
        refresh: () => Effect.fail(internalError("not here")),
        subscribe: () => Effect.fail(internalError("not here"))
      }
      const service = yield* ChannelsLive.make({ insecure: true, namespaces, recoveryLimit: recoverable }).pipe(
        Effect.provideService(Hub.Hub, hub),
        Effect.provideService(Broker, rough.broker),
        Effect.provideService(Presence, rough.presence),
        Effect.provideService(Authenticator, authenticator),
        Scope.extend(inside)
      )
      const lost = new Set<string>()
      const clients = users.map((user) => new ModelClient(user, rough, lost))
      const fork = yield* FiberSet.makeRuntime<never>()
      // @effect-diagnostics-next-line anyUnknownInErrorContext:off
      const aside = (effect: Effect.Effect<unknown, unknown>) => fork(Effect.ignore(effect))

      const read = Effect.forEach(clients, (client) => client.read, { discard: true })
      /** Until only time could change anything. */
      const settle = Effect.gen(function*() {
        for (let calmTurns = 0; calmTurns < 3;) {
          yield* turn
          yield* yields(3)
          yield* read
          calmTurns = rough.isIdle ? calmTurns + 1 : calmTurns + 0.05
        }
      })
      const pass = (millis: number) => clock.advance(millis, Effect.zipRight(turn, read))

      // Readers in the process: each publication once, in order, without a gap, or an error.
      let readers = 0
      const reads: Array<Fiber.RuntimeFiber<void>> = []
      const reader = (channel: string, since: StreamPosition | undefined) =>
        Effect.suspend(() => {
          readers++
          let last = since?.offset
          return Stream.runForEach(
            service.subscribe(channel, since === undefined ? {} : { since }),
            ({ data, offset }) =>
              Effect.sync(() => {
                if (offset === 0) return
                if (last !== undefined && offset !== last + 1) {
                  rough.violations.push(`a reader of ${channel} gets ${offset} after ${last}`)
                }
                const text = JSON.stringify(data)
                if (since !== undefined && rough.published.get(`${channel} ${since.epoch} ${offset}`) !== text) {
                  rough.violations.push(`a reader of ${channel} gets ${text} at ${offset} of ${since.epoch}`)
                }
                last = offset
              })
          )
        })

      const connect = (client: ModelClient) =>
        Effect.gen(function*() {
          const { peer, transport } = yield* TestTransport.make()
          yield* client.connect(peer)
          yield* Effect.ignore(hub.accept(transport, service.serve, { closeWith: Channels.mount.closeWith }))
        })

      let published = 0
      const data = () => `${++published}`
      const step = Effect.gen(function*() {
        const client = clients[pick(clients.length)] ?? new ModelClient("", rough, lost)
        const channel = channels[pick(channels.length)] ?? ""
        const act = client.socket === undefined ? pick(2) : 2 + pick(35)
        log.push(`${act} ${client.user} ${channel} at ${clock.now}`)
        if (act < 2) return yield* connect(client)
        if (act < 8) {
          if (client.wanted.has(channel) || client.subscribed.has(channel)) return
          return yield* client.say([client.toSubscribe(channel)])
        }
        if (act < 10) return yield* client.say([client.toUnsubscribe(channel)])
        if (act < 12) return yield* client.say([client.toUnsubscribe(channel), client.toSubscribe(channel)])
        if (act < 17) return yield* client.say([client.toPublish(channel, data())])
        if (act < 22) return aside(service.publish(channel, data(), { skipHistory: pick(8) === 0 }))
        if (act === 22) return yield* client.socket?.peer.reset ?? Effect.void
        if (act === 23) return yield* client.socket?.peer.close(1000) ?? Effect.void
        if (act === 24) {
          return aside(
            service.disconnect(client.user, pick(2) === 0 ? {} : { disconnect: new Disconnect({ code: 4000 }) })
          )
        }
        if (act === 25) return aside(service.unsubscribe(client.user, channel))
        if (act < 28) {
          const giving = fork(Effect.ignore(service.subscribeUser(client.user, channel)))
          yield* yields(pick(30))
          return pick(3) === 0 ? yield* Fiber.interruptFork(giving) : undefined
        }
        if (act === 28 && pick(3) === 0) {
          lost.add(channel)
          if (pick(2) === 0) network.lose(channel)
          else yield* witness.removeHistory(channel)
          return
        }
        if (act === 29) return yield* pass([50, 1000, 6000, 30_000][pick(4)] ?? 0)
        if (act < 32) {
          const top = rough.tops.get(channel)
          const since = top === undefined || pick(2) === 0
            ? undefined
            : { ...top, offset: Math.max(0, top.offset - pick(3)) }
          const reading = fork(Effect.ignore(reader(channel, since)))
          reads.push(reading)
          yield* yields(pick(60))
          return pick(2) === 0 ? yield* Fiber.interruptFork(reading) : undefined
        }
        if (act < 34) return yield* settle
        if (channel.startsWith("plain")) return
        return yield* client.say([
          ...(pick(2) === 0 ? [client.toPublish(channel, data())] : []),
          client.toReadHistory(channel)
        ])
      })

      const steps = 20 + pick(40)
      for (let i = 0; i < steps; i++) {
        yield* step
        yield* yields(pick(20))
        if (pick(3) === 0) yield* turn
        yield* read
      }

      if (pick(3) > 0) {
        // The network is well again, and all come back: everything agrees.
        rough.roughness = calm
        log.push("calm")
        yield* settle
        yield* pass(10_000)
        for (const client of clients) {
          if (client.socket === undefined) yield* connect(client)
          yield* settle
        }
        yield* pass(100_000)
        for (const client of clients) {
          if (client.socket === undefined) yield* connect(client)
          yield* settle
        }
        for (const channel of channels) yield* Effect.ignore(service.publish(channel, data()))
        yield* settle
        yield* pass(1000)
        yield* settle
        // What failed to be removed has expired by now.
        rough.failedPresence.clear()
        const tops = new Map<string, StreamPosition>()
        for (const channel of channels) {
          if (stream !== undefined) {
            tops.set(channel, (yield* Effect.orDie(witness.history(channel, { stream, limit: 0 }))).position)
          }
          const present = [...(yield* Effect.orDie(innerPresence.get(channel))).keys()].sort()
          const live = clients.flatMap(({ socket, subscribed }) =>
            socket !== undefined && subscribed.has(channel) ? [socket.client] : []
          ).sort()
          if (present.join() !== live.join()) {
            rough.violations.push(`present in ${channel}: ${present.join()}; subscribed: ${live.join()}`)
          }
        }
        for (const client of clients) {
          if (!client.isConnected) rough.violations.push(`${client.user} does not come back`)
          client.checkComplete(tops)
        }
      }

      // The layer's scope closes in the middle of whatever is going on.
      log.push("close")
      const closing = yield* Effect.fork(Effect.uninterruptible(Scope.close(inside, Exit.void)))
      yield* yields(pick(20))
      for (let i = 0; i < 40 && Option.isNone(yield* Fiber.poll(closing)); i++) {
        yield* pass(1000)
        yield* turn
      }
      if (Option.isNone(yield* Fiber.poll(closing))) rough.violations.push("the scope does not close")
      yield* Fiber.interruptAllAs(reads, FiberId.none).pipe(Effect.fork)
      yield* pass(20_000)
      yield* settle
      for (const client of clients) {
        if (client.socket !== undefined) rough.violations.push(`${client.user} is still connected`)
      }
      if ((yield* hub.size) !== 0) rough.violations.push("connections are left")
      if ((yield* hub.topics).length > 0) rough.violations.push(`topics are left: ${(yield* hub.topics).join()}`)
      for (const channel of rough.heard) {
        if (!rough.failedToUnsubscribe.has(channel)) rough.violations.push(`the broker still tells of ${channel}`)
      }
      for (const channel of channels) {
        const present = yield* Effect.orDie(innerPresence.get(channel))
        if (present.size > 0 && !rough.failedPresence.has(channel)) {
          rough.violations.push(`still present in ${channel}: ${[...present.keys()].join()}`)
        }
      }
      for (const [key, told] of rough.told) {
        if (told !== "left") rough.violations.push(`${key} has ${told}, and nothing after that`)
      }
      return { violations: [...rough.violations, ...defects], log, clients, read: readers }
    })

    const random = Math.random
    Math.random = () => pick(1 << 20) / (1 << 20)
    return yield* Effect.scoped(body).pipe(
      Effect.ensuring(Effect.sync(() => {
        Math.random = random
      })),
      Effect.provideService(TurnScheduler, pick(2) === 0 ? queueMicrotask : (task) => void setImmediate(task)),
      Effect.withClock(clock),
      Logger.withMinimumLogLevel(LogLevel.All),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      withChaos(seed, [0, 0.03, 0.1][pick(3)] ?? 0)
    )
  }).pipe(Effect.orDie)
