/**
 * A broker and presence that take their time, fail, and lose what they were to tell: the network that channels must
 * live with. What they did is recorded, for the laws.
 */
import { Deferred, Effect, type Exit, FiberId, FiberSet } from "effect"
import { type Broker, BrokerError, type BrokerEvent, type BrokerPublish } from "../../../src/channels/Broker.js"
import type { MemoryNetwork } from "../../../src/channels/BrokerMemory.js"
import type { Presence } from "../../../src/channels/Presence.js"
import type { ClientInfo, StreamPosition } from "../../../src/channels/Publication.js"

/** The choices of one seed: whole numbers below `n`. */
export const choices = (seed: number) => {
  let state = Math.imul(seed, 2654435761) >>> 0
  return (n: number) => {
    state = Math.imul(state ^ state >>> 15, 2246822519) + 0x9e3779b9 >>> 0
    return (state >>> 8) % n
  }
}

export type Pick = ReturnType<typeof choices>

export const yields = (n: number): Effect.Effect<void> => Effect.repeatN(Effect.yieldNow(), n)

/** How rough the network is: the chances of a hundred. */
export interface Roughness {
  readonly fails: number
  readonly stalls: number
  readonly loses: number
}

export const calm: Roughness = { fails: 0, stalls: 0, loses: 0 }

/** Which of a client's joins and leaves was the last that the broker was told of. */
type Told = "joining" | "joined" | "leaving" | "left"

export class Rough {
  roughness: Roughness = calm
  /** Nothing that it was to tell is lost. */
  isLossless = true
  /** What was done that no law allows. */
  readonly violations: Array<string> = []
  /** Channels that the broker tells of. */
  readonly heard = new Set<string>()
  /** All that got a place in a stream: channel, epoch and offset, and its data. */
  readonly published = new Map<string, string>()
  /** The place of each of them, by its data. */
  readonly places = new Map<string, StreamPosition & { readonly channel: string }>()
  /** The newest place in each channel's stream. */
  readonly tops = new Map<string, { readonly offset: number; readonly epoch: string }>()
  /** Data of what the node was told, by channel. */
  readonly delivered = new Map<string, Array<string>>()
  readonly told = new Map<string, Told>()
  /** Where a failure allows what the laws forbid otherwise. */
  readonly failedToUnsubscribe = new Set<string>()
  readonly failedPresence = new Set<string>()
  readonly failedJoins = new Set<string>()
  readonly broker: Broker["Type"]
  readonly presence: Presence["Type"]
  private readonly log: Array<string>
  private running = 0
  /** Publications of clients that are under way. */
  private sending = 0
  /** Whether the last of them got its place in the stream. */
  private sent: Deferred.Deferred<void> | undefined = undefined
  private readonly pick: Pick
  private readonly events = new Map<string, Array<BrokerEvent>>()
  private listener: ((event: BrokerEvent) => void) | undefined = undefined

  constructor(
    network: MemoryNetwork,
    presence: Presence["Type"],
    pick: Pick,
    fork: (effect: Effect.Effect<void>) => void,
    log: Array<string>
  ) {
    this.log = log
    this.pick = pick
    const inner = network.node()
    const tell = (event: BrokerEvent) => {
      if (event._tag === "Published" && this.chance(this.roughness.loses)) {
        if (pick(2) === 0) return
        event = { _tag: "Gap", channel: event.channel }
      }
      const queue = this.events.get(event.channel)
      if (queue !== undefined) return void queue.push(event)
      this.events.set(event.channel, [event])
      fork(this.pump(event.channel))
    }
    const unsafePublish: Broker["Type"]["unsafePublish"] = (channel, publication, done) => {
      // As a broker in this process does.
      if (this.sending === 0 && this.pick(4) === 0 && !this.chance(this.roughness.fails)) {
        return inner.unsafePublish?.(channel, publication, done)
      }
      fork(this.send(channel, publication, inner, done))
    }
    this.broker = {
      publish: (channel, publication) => this.operation(`publish ${channel}`, inner.publish(channel, publication)),
      // Not all brokers have it.
      unsafePublish: pick(2) === 0 ? unsafePublish : undefined,
      publishJoin: (channel, info) => this.announce("joining", channel, info, inner.publishJoin(channel, info)),
      publishLeave: (channel, info) => this.announce("leaving", channel, info, inner.publishLeave(channel, info)),
      subscribe: (channel) =>
        this.operation(
          `subscribe ${channel}`,
          Effect.tap(inner.subscribe(channel), () =>
            Effect.sync(() => {
              this.heard.add(channel)
              this.failedToUnsubscribe.delete(channel)
            }))
        ),
      unsubscribe: (channel) =>
        this.operation(
          `unsubscribe ${channel}`,
          Effect.tap(inner.unsubscribe(channel), () =>
            Effect.sync(() => {
              this.heard.delete(channel)
              // Of a time before that, whose end it was not told, nothing is told later.
              this.events.get(channel)?.splice(0)
            }))
        ).pipe(Effect.tapError(() => Effect.sync(() => this.failedToUnsubscribe.add(channel)))),
      history: (channel, request) => this.operation(`history ${channel}`, inner.history(channel, request)),
      removeHistory: (channel) => this.operation("removeHistory", inner.removeHistory(channel)),
      listen: (listener) =>
        Effect.zipRight(
          Effect.sync(() => {
            this.listener = listener
          }),
          inner.listen(tell)
        )
    }
    this.presence = {
      add: (channel, info, ttl) => this.present(`add ${info.client}`, channel, presence.add(channel, info, ttl)),
      remove: (channel, info) => this.present(`remove ${info.client}`, channel, presence.remove(channel, info)),
      get: (channel) => this.operation("get", presence.get(channel)),
      stats: (channel) => this.operation("stats", presence.stats(channel))
    }
  }

  /** Another node, which hears of everything at once and forgets nothing. */
  record(witness: Broker["Type"], channels: ReadonlyArray<string>) {
    return Effect.zipRight(
      witness.listen((event) => {
        if (event._tag !== "Published" || event.epoch === "") return
        const { channel, epoch, publication: { data, offset } } = event
        this.published.set(`${channel} ${epoch} ${offset}`, data)
        this.places.set(data, { channel, offset, epoch })
        this.tops.set(channel, { offset, epoch })
      }),
      Effect.forEach(channels, witness.subscribe, { discard: true })
    )
  }

  get isIdle(): boolean {
    return this.running === 0 && this.sending === 0 && this.events.size === 0
  }

  private chance(percent: number): boolean {
    return this.pick(100) < percent
  }

  private get pause(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.chance(this.roughness.stalls) ? Effect.sleep(100 * this.pick(80)) : yields(this.pick(8))
    )
  }

  private operation<A, E>(operation: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | BrokerError> {
    return Effect.suspend(() => {
      const fails = this.chance(this.roughness.fails)
      const failure = Effect.fail(new BrokerError({ operation, cause: new Error("rough") }))
      const tried: Effect.Effect<A, E | BrokerError> = fails && this.pick(2) === 0 ? failure : effect
      this.running++
      this.log.push(`  begins ${operation}${fails ? ", to fail" : ""}`)
      return Effect.zipRight(this.pause, tried).pipe(
        Effect.tap(() => this.pause),
        Effect.zipLeft(fails ? failure : Effect.void),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            this.running--
            this.log.push(`  ${exit._tag} ${operation}`)
          })
        )
      )
    })
  }

  /** Publications get their places in the order of the calls, and are confirmed in any. */
  private send(
    channel: string,
    publication: BrokerPublish,
    inner: Broker["Type"],
    done: (exit: Exit.Exit<StreamPosition | undefined, BrokerError>) => void
  ): Effect.Effect<void> {
    const { sent: before } = this
    const sent = Deferred.unsafeMake<void>(FiberId.none)
    this.sent = sent
    this.sending++
    const turn = before === undefined ? Effect.void : Deferred.await(before)
    const isSent = Deferred.succeed(sent, undefined)
    const made = Effect.zipRight(turn, Effect.ensuring(inner.publish(channel, publication), isSent))
    return this.operation(`publish ${channel}, under way`, made).pipe(
      Effect.ensuring(isSent),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          this.sending--
          done(exit)
        })
      ),
      Effect.exit
    )
  }

  private present(
    what: string,
    channel: string,
    effect: Effect.Effect<void, BrokerError>
  ): Effect.Effect<void, BrokerError> {
    return this.operation(`${what} ${channel}`, effect).pipe(
      Effect.tapError(() => Effect.sync(() => this.failedPresence.add(channel)))
    )
  }

  private announce(
    what: "joining" | "leaving",
    channel: string,
    { client }: ClientInfo,
    effect: Effect.Effect<void, BrokerError>
  ): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const key = `${channel} ${client}`
      const before = this.told.get(key) ?? "left"
      if (before !== (what === "joining" ? "left" : "joined")) {
        this.violations.push(`${key} is ${what} when it is ${before}`)
      }
      this.told.set(key, what)
      return this.operation(`${what} ${key}`, effect).pipe(
        Effect.tapError(() => Effect.sync(() => this.failedJoins.add(key))),
        Effect.ensuring(Effect.sync(() => this.told.set(key, what === "joining" ? "joined" : "left")))
      )
    })
  }

  /** Events of a channel come late, and in their order. */
  private pump(channel: string): Effect.Effect<void> {
    const queue = this.events.get(channel) ?? []
    return Effect.whileLoop({
      while: () => queue.length > 0 || !this.events.delete(channel),
      body: () => yields(this.pick(4) === 0 ? this.pick(60) : this.pick(6)),
      step: () => {
        const event = queue.shift()
        if (event === undefined) return
        if (event._tag === "Published") {
          const delivered = this.delivered.get(channel)
          if (delivered === undefined) this.delivered.set(channel, [event.publication.data])
          else delivered.push(event.publication.data)
        }
        this.listener?.(event)
      }
    })
  }

  static make(network: MemoryNetwork, presence: Presence["Type"], pick: Pick, log: Array<string>) {
    return Effect.map(
      FiberSet.makeRuntime<never>(),
      (fork) => new Rough(network, presence, pick, (effect) => void fork(effect), log)
    )
  }
}
