/**
 * The broker for a hub of one process: it lives in memory.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Broker, type BrokerEvent, type BrokerPublish, type StreamOptions } from "./Broker.js"
import { type Expiring, ExpiringMap, monotonic } from "./ExpiringMap.js"
import { MemoryStream } from "./MemoryStream.js"
import type { Publication, StreamPosition } from "./Publication.js"

const defaultWindow = 300_000

/** What came of a publication with an idempotency key. */
class Outcome implements Expiring {
  readonly position: StreamPosition | undefined
  private readonly until: number

  constructor(position: StreamPosition | undefined, until: number) {
    this.position = position
    this.until = until
  }

  expire(now: number): boolean {
    return now >= this.until
  }
}

/** The channels and listeners of one node. */
class Ear {
  readonly channels = new Set<string>()
  /** Replaced, never changed: a listener may leave while it is told something. */
  private listeners: ReadonlyArray<{ readonly listener: (event: BrokerEvent) => void }> = []

  listen(listener: (event: BrokerEvent) => void): () => void {
    const entry = { listener }
    this.listeners = [...this.listeners, entry]
    return () => {
      this.listeners = this.listeners.filter((other) => other !== entry)
    }
  }

  tell(event: BrokerEvent): void {
    for (const { listener } of this.listeners) listener(event)
  }
}

/** The length keeps channel "a" with key "bc" apart from channel "ab" with key "c". */
const outcomeKey = (channel: string, key: string): string => `${channel.length}:${channel}${key}`

const isKept = (options: StreamOptions | undefined): options is StreamOptions =>
  options !== undefined && options.size > 0 && options.ttl > 0

const toPublication = (request: BrokerPublish, offset: number): Publication<string> => ({
  data: request.data,
  info: request.info,
  offset,
  tags: request.tags
})

/**
 * Streams in memory, and any number of nodes that share them.
 *
 * @internal
 */
export class MemoryNetwork {
  private readonly ears: Array<Ear> = []
  readonly streams: ExpiringMap<MemoryStream>
  readonly outcomes: ExpiringMap<Outcome>
  /**
   * Streams from which on one that is read, and was never published to, is not kept: whoever may read channels of any
   * name could fill the memory. About 200 MB.
   */
  mostRead = 1_000_000
  private readonly now: () => number

  private constructor(streams: ExpiringMap<MemoryStream>, outcomes: ExpiringMap<Outcome>, now: () => number) {
    this.streams = streams
    this.outcomes = outcomes
    this.now = now
  }

  static readonly make: Effect.Effect<MemoryNetwork, never, Scope.Scope> = Effect.gen(function*() {
    const now = yield* monotonic
    return new MemoryNetwork(yield* ExpiringMap.make<MemoryStream>(now), yield* ExpiringMap.make<Outcome>(now), now)
  })

  /** Another node. */
  node(): Broker["Type"] {
    const ear = new Ear()
    this.ears.push(ear)
    return Broker.of({
      publish: (channel, publication) => Effect.sync(() => this.publish(channel, publication)),
      unsafePublish: (channel, publication, done) => done(Exit.succeed(this.publish(channel, publication))),
      publishJoin: (channel, info) => Effect.sync(() => this.tell({ _tag: "Joined", channel, info })),
      publishLeave: (channel, info) => Effect.sync(() => this.tell({ _tag: "Left", channel, info })),
      subscribe: (channel) => Effect.sync(() => void ear.channels.add(channel)),
      unsubscribe: (channel) => Effect.sync(() => void ear.channels.delete(channel)),
      history: (channel, request) => Effect.sync(() => this.reading(channel, request.stream, this.now()).read(request)),
      removeHistory: (channel) => Effect.sync(() => this.streams.get(channel, this.now())?.removePublications()),
      listen: (listener) =>
        Effect.asVoid(Effect.acquireRelease(Effect.sync(() => ear.listen(listener)), (leave) => Effect.sync(leave)))
    })
  }

  /** Loses the stream of a channel. */
  lose(channel: string): void {
    this.streams.delete(channel)
  }

  /** Asks the clock, and makes anything that lasts, only for a stream or a key. */
  private publish(channel: string, request: BrokerPublish): StreamPosition | undefined {
    const { idempotencyKey, stream } = request
    if (idempotencyKey === undefined) {
      return isKept(stream) ? this.append(channel, request, stream, this.now()) : this.pass(channel, request)
    }
    const now = this.now()
    const key = outcomeKey(channel, idempotencyKey)
    const earlier = this.outcomes.get(key, now)
    if (earlier !== undefined) return earlier.position
    const position = isKept(stream) ? this.append(channel, request, stream, now) : this.pass(channel, request)
    this.outcomes.set(key, new Outcome(position, now + (request.idempotencyWindow ?? defaultWindow)))
    return position
  }

  private pass(channel: string, request: BrokerPublish): undefined {
    if (this.isHeard(channel)) this.tellPublished(channel, toPublication(request, 0), "")
  }

  private append(channel: string, request: BrokerPublish, options: StreamOptions, now: number): StreamPosition {
    const stream = this.stream(channel, options, now)
    if (request.version !== undefined) {
      if (stream.has(request.version)) return stream.position
      stream.versioned(request.version)
    }
    const publication = toPublication(request, stream.next)
    stream.append(publication, options, now)
    if (this.isHeard(channel)) this.tellPublished(channel, publication, stream.epoch)
    return stream.position
  }

  private reading(channel: string, options: StreamOptions, now: number): MemoryStream {
    return this.streams.size >= this.mostRead && this.streams.get(channel, now) === undefined
      ? new MemoryStream()
      : this.stream(channel, options, now)
  }

  private stream(channel: string, options: StreamOptions, now: number): MemoryStream {
    const found = this.streams.get(channel, now)
    const stream = found ?? new MemoryStream()
    stream.use(options, now)
    if (found === undefined) this.streams.set(channel, stream)
    return stream
  }

  private isHeard(channel: string): boolean {
    for (const ear of this.ears) if (ear.channels.has(channel)) return true
    return false
  }

  private tellPublished(channel: string, publication: Publication<string>, epoch: string): void {
    this.tell({ _tag: "Published", channel, publication, epoch })
  }

  private tell(event: BrokerEvent): void {
    for (const ear of this.ears) if (ear.channels.has(event.channel)) ear.tell(event)
  }
}

/**
 * Makes a broker in memory, for as long as the current scope is open. It is one node: all its listeners share its
 * subscriptions.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: Effect.Effect<Broker["Type"], never, Scope.Scope> = Effect.map(
  MemoryNetwork.make,
  (network) => network.node()
)

/**
 * The broker for a hub of one process. What it keeps is lost with the process: streams then have another epoch. Times
 * follow the `Clock`; what has expired is not seen, and its memory is given back within a few seconds.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: Layer.Layer<Broker> = Layer.scoped(Broker, make)
