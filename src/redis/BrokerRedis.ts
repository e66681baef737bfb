/**
 * The broker for a hub of many nodes: it lives in Redis.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import {
  Broker,
  type BrokerError,
  type BrokerEvent,
  type BrokerPublish,
  type HistoryRequest,
  type StreamOptions
} from "../channels/Broker.js"
import type { ClientInfo } from "../channels/Publication.js"
import { Batch, type Published } from "./BrokerBatch.js"
import { Echo } from "./BrokerEcho.js"
import { history, publishScripts, remove } from "./BrokerScripts.js"
import { decodeMessage, encodePassing, encodePayload, encodePresence, separator } from "./BrokerWire.js"
import { RedisConnection } from "./RedisConnection.js"
import * as Metrics from "./RedisMetrics.js"

const defaultWindow = 300_000

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const random = new Uint8Array(4096)
let used = random.length

/** One for each publication, since its stream may be new: so they are taken from a supply. */
const randomEpoch = (): string => {
  if (used === random.length) {
    crypto.getRandomValues(random)
    used = 0
  }
  let epoch = ""
  for (const end = used + 8; used < end; used++) epoch += letters[(random[used] ?? 0) % letters.length]
  return epoch
}

/** Redis takes whole milliseconds above 0. */
const px = (millis: number): string => `${Math.max(1, Math.ceil(millis))}`

const isKept = (options: StreamOptions | undefined): options is StreamOptions =>
  options !== undefined && options.size > 0 && options.ttl > 0

const nothing: Published = Exit.succeed(undefined)

const passed = (exit: Exit.Exit<void, BrokerError>): Published =>
  Exit.isSuccess(exit) ? nothing : Exit.failCause(exit.cause)

/** One node's broker. */
class Node {
  private readonly redis: RedisConnection["Type"]
  private readonly scripts: typeof publishScripts.PUBLISH
  private readonly channels = new Set<string>()
  /** Replaced, never changed: a listener may leave while it is told something. */
  private listeners: ReadonlyArray<{ readonly listener: (event: BrokerEvent) => void }> = []
  /** What is done at the end of the turn, in this order. */
  private queue: Array<Batch | (() => void)> = []
  /** The last of each channel in the queue, if it is one that more can join. */
  private readonly open = new Map<string, Batch>()
  private flushing: NodeJS.Immediate | undefined
  private readonly echo: Echo

  constructor(redis: RedisConnection["Type"]) {
    this.redis = redis
    this.echo = new Echo(redis.config)
    this.scripts = publishScripts[redis.publishing]
  }

  publish(channel: string, request: BrokerPublish, done: (exit: Published) => void): void {
    const stream = isKept(request.stream) ? request.stream : undefined
    const payload = encodePayload(request)
    if (request.idempotencyKey !== undefined || request.version !== undefined && stream !== undefined) {
      return this.later(channel, () => this.publishAlone(channel, stream, payload, request, done))
    }
    const batch = this.open.get(channel)
    if (batch === undefined || !batch.takes(stream)) {
      const other = new Batch(channel, stream, payload, done)
      this.open.set(channel, other)
      return this.enqueue(other)
    }
    batch.add(payload, done)
  }

  tellPresence(kind: "j" | "l", channel: string, info: ClientInfo, done: (exit: Published) => void): void {
    this.later(
      channel,
      () => this.redis.unsafePublish(channel, encodePresence(kind, info), (exit) => done(passed(exit)))
    )
  }

  /** In the order of the calls for this channel. */
  private later(channel: string, action: () => void): void {
    this.open.delete(channel)
    this.enqueue(action)
  }

  private enqueue(entry: Batch | (() => void)): void {
    this.queue.push(entry)
    this.flushing ??= setImmediate(this.flush)
  }

  private readonly flush = (): void => {
    this.flushing = undefined
    const { queue } = this
    this.queue = []
    this.open.clear()
    this.echo.look()
    for (const entry of queue) {
      if (entry instanceof Batch) this.send(entry)
      else entry()
    }
  }

  private send({ channel, payloads, stream, waiters }: Batch): void {
    const content = payloads.join(separator)
    if (this.echo.isDue && this.channels.has(channel)) this.echo.sent(channel, content)
    if (stream === undefined) {
      return this.redis.unsafePublish(channel, encodePassing(content), (exit) => {
        if (Exit.isFailure(exit)) this.echo.forget(channel)
        else Metrics.published.unsafeUpdate(waiters.length, [])
        const all = passed(exit)
        for (const done of waiters) done(all)
      }, waiters.length)
    }
    this.redis.unsafeRun(
      this.scripts.append,
      channel,
      this.keys(channel),
      [...this.streamArgs(stream), content],
      (exit) => {
        if (Exit.isFailure(exit)) this.echo.forget(channel)
        else Metrics.published.unsafeUpdate(waiters.length, [])
        if (waiters.length === 1 || Exit.isFailure(exit) || exit.value === undefined) {
          for (const done of waiters) done(exit)
          return
        }
        const { epoch, offset } = exit.value
        let at = offset - waiters.length
        for (const done of waiters) done(Exit.succeed({ offset: ++at, epoch }))
      },
      waiters.length
    )
  }

  /** Where it depends on earlier ones whether it is made. */
  private publishAlone(
    channel: string,
    stream: StreamOptions | undefined,
    payload: string,
    { idempotencyKey, idempotencyWindow = defaultWindow, version }: BrokerPublish,
    done: (exit: Published) => void
  ): void {
    const { redis, scripts } = this
    const answered = (exit: Published) => {
      if (Exit.isSuccess(exit)) Metrics.published.unsafeUpdate(1, [])
      done(exit)
    }
    const outcome = idempotencyKey === undefined ? [] : [redis.key(channel, `i:${idempotencyKey}`)]
    const window = px(idempotencyWindow)
    if (stream === undefined) {
      return redis.unsafeRun(
        scripts.passOnce,
        channel,
        outcome,
        [redis.key(channel), window, encodePassing(payload)],
        answered
      )
    }
    const args = [...this.streamArgs(stream), window, payload]
    if (version === undefined) {
      return redis.unsafeRun(scripts.appendOnce, channel, [...this.keys(channel), ...outcome], args, answered)
    }
    redis.unsafeRun(
      scripts.appendVersion,
      channel,
      [...this.keys(channel), redis.key(channel, "v"), ...outcome],
      [...args, `${version.number}`, version.epoch],
      answered
    )
  }

  private keys(channel: string): ReadonlyArray<string> {
    const name = this.redis.key(channel)
    return [`${name}:m`, `${name}:s`]
  }

  private streamArgs({ metaTtl, size, ttl }: StreamOptions): ReadonlyArray<string> {
    return [randomEpoch(), `${size}`, px(ttl), px(Math.max(metaTtl, ttl))]
  }

  history(channel: string, { limit, reverse = false, since, stream }: HistoryRequest) {
    const { redis } = this
    const read = redis.run(history, channel, this.keys(channel), [
      randomEpoch(),
      `${stream.size}`,
      px(Math.max(stream.metaTtl, stream.ttl)),
      since === undefined ? "" : `${since.offset}`,
      limit === undefined || limit > Number.MAX_SAFE_INTEGER ? "-1" : `${Math.max(0, limit)}`,
      reverse ? "1" : "0"
    ])
    return reverse
      ? Effect.map(read, ({ position, publications }) => ({ position, publications: [...publications].reverse() }))
      : read
  }

  removeHistory(channel: string): Effect.Effect<void, BrokerError> {
    return this.redis.run(remove, channel, [this.redis.key(channel, "s")], [])
  }

  subscribe(channel: string): Effect.Effect<void, BrokerError> {
    return Effect.map(this.redis.subscribe(channel), () => void this.channels.add(channel))
  }

  unsubscribe(channel: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.channels.delete(channel)
      this.echo.forget(channel)
      return this.redis.unsubscribe(channel)
    })
  }

  listen(listener: (event: BrokerEvent) => void): () => void {
    const entry = { listener }
    this.listeners = [...this.listeners, entry]
    return () => {
      this.listeners = this.listeners.filter((other) => other !== entry)
    }
  }

  readonly onMessage = (channel: string, message: string): void => {
    if (!this.channels.has(channel)) return
    this.echo.heard(channel, message)
    try {
      decodeMessage(channel, message, this.tell)
    } catch {
      // Whoever else publishes there: it is not for us.
      Metrics.unreadable.unsafeUpdate(1, [])
    }
  }

  readonly onGap = (channel: string): void => {
    this.echo.forget(channel)
    if (this.channels.has(channel)) this.tell({ _tag: "Gap", channel })
  }

  private readonly tell = (event: BrokerEvent): void => {
    for (const { listener } of this.listeners) listener(event)
  }
}

/**
 * Makes the broker of one node, for as long as the current scope is open.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: Effect.Effect<Broker["Type"], never, RedisConnection | Scope.Scope> = Effect.gen(function*() {
  const redis = yield* RedisConnection
  const node = new Node(redis)
  yield* redis.listen(node)
  return Broker.of({
    publish: (channel, publication) => Effect.async((resume) => node.publish(channel, publication, resume)),
    unsafePublish: (channel, publication, done) => node.publish(channel, publication, done),
    publishJoin: (channel, info) => Effect.async((resume) => node.tellPresence("j", channel, info, resume)),
    publishLeave: (channel, info) => Effect.async((resume) => node.tellPresence("l", channel, info, resume)),
    subscribe: (channel) => node.subscribe(channel),
    unsubscribe: (channel) => node.unsubscribe(channel),
    history: (channel, request) => node.history(channel, request),
    removeHistory: (channel) => node.removeHistory(channel),
    listen: (listener) =>
      Effect.asVoid(Effect.acquireRelease(Effect.sync(() => node.listen(listener)), (leave) => Effect.sync(leave)))
  })
})

/**
 * The broker for a hub of many nodes. A server that was restarted, or took over from another, may not remember what was
 * published last; so all streams there have another epoch then, whatever it remembers.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: Layer.Layer<Broker, never, RedisConnection> = Layer.scoped(Broker, make)
