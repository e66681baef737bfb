/**
 * The nodes that share a Redis, and how they ask each other.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { BrokerError } from "../channels/Broker.js"
import { type Answers, type Ask, Cluster, type Member } from "../channels/Cluster.js"
import { encodeRefusal } from "../channels/Control.js"
import { monotonic } from "../channels/ExpiringMap.js"
import { Poll } from "../channels/Poll.js"
import { InvalidOption } from "../core/HubError.js"
import * as Messages from "./ClusterMessages.js"
import { leave, renew } from "./ClusterScripts.js"
import { RedisConnection } from "./RedisConnection.js"

/**
 * How patient nodes are with each other.
 *
 * @since 1.0.0
 * @category models
 */
export interface ClusterRedisOptions {
  /** Time for the answers of the other nodes; who takes longer is missing. Defaults to 1 second. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Time that a node is known after it was last heard of; it says three times as often that it is there. Defaults to 10 seconds. */
  readonly lease?: Duration.DurationInput | undefined
}

/**
 * Where the nodes are registered, and asked. No channel has this name, nor one that begins so: what stands before its `:`
 * cannot be the name of a namespace. Otherwise a client could leave it, and the node would hear no other.
 */
const registry = "\u0000:nodes"

/**
 * Characters of an answer, at most. The parts of all answers are on their way to one listener, and Redis cuts it off
 * when 32 MB wait for it.
 */
const longestAnswer = 4 * 1024 * 1024

const bounded = (answer: string): string =>
  answer.length > longestAnswer
    ? encodeRefusal(`its answer has ${answer.length} characters, and at most ${longestAnswer} are sent`)
    : answer

/** Milliseconds until it is tried again, while Redis is away: at first, and at most. */
const firstRetry = 50
const longestRetry = 500

const duration = (key: string, given: Duration.DurationInput | undefined, fallback: number) => {
  if (given === undefined) return Effect.succeed(fallback)
  const decoded = Duration.decodeUnknown(given)
  const millis = decoded._tag === "Some" ? Duration.toMillis(decoded.value) : NaN
  return millis >= 10 && millis <= 3_600_000
    ? Effect.succeed(millis)
    : new InvalidOption({ key, expected: "a duration from 10 ms to an hour, such as \"1 second\"", actual: given })
}

/** The nodes of this process, and what they know of the others. */
class Nodes {
  readonly members = new Map<string, Member>()
  private readonly redis: RedisConnection["Type"]
  private readonly timeout: number
  private readonly lease: number
  private readonly now: () => number
  private readonly fork: (effect: Effect.Effect<void>) => void
  /** Where this process hears answers. */
  private readonly inbox = `${registry}:${globalThis.crypto.randomUUID()}`
  private readonly key: string
  private readonly polls = new Map<string, { readonly poll: Poll; readonly parts: Messages.Parts }>()
  private asked = 0
  private isHeard = false
  /** Members that Redis knows of, unless it has lost them. */
  private readonly registered = new Set<string>()
  /** Those that were registered when it was last looked. */
  private known: ReadonlyArray<string> = []
  /** Until then nodes may be there that are not registered: Redis was away, and may have lost them. */
  private unsureUntil = 0
  private readonly wake = Effect.unsafeMakeLatch(false)

  constructor(
    redis: RedisConnection["Type"],
    times: { readonly timeout: number; readonly lease: number },
    now: () => number,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.redis = redis
    this.timeout = times.timeout
    this.lease = times.lease
    this.now = now
    this.fork = fork
    this.key = redis.key(registry, "nodes")
  }

  readonly listener = {
    onMessage: (owner: string, message: string): void => {
      if (owner === registry) this.onRequest(message)
      else if (owner === this.inbox) this.onAnswer(message)
    },
    onGap: (owner: string): void => {
      if (owner === registry) this.suspect()
    }
  }

  /** Keeps the members known, and heard. */
  get keep(): Effect.Effect<never> {
    let failures = 0
    const once = Effect.gen(this, function*() {
      this.wake.unsafeClose()
      yield* this.redis.subscribe(registry)
      yield* this.redis.subscribe(this.inbox)
      this.isHeard = true
      yield* this.renewed
      failures = 0
      return this.lease / 3
    })
    const soon = Effect.sync(() => Math.min(firstRetry * 2 ** Math.min(failures++, 10), longestRetry, this.lease / 3))
    const loop = Effect.forever(
      Effect.catchAll(once, () => soon).pipe(
        Effect.flatMap((pause) => Effect.timeoutOption(this.wake.await, pause))
      )
    )
    // Tries as soon as Redis is connected: the next try may be a while from then.
    return Effect.zipRight(Effect.fork(Effect.zipRight(this.redis.connected, this.wake.open)), loop)
  }

  get end(): Effect.Effect<void> {
    return Effect.zipRight(this.redis.unsubscribe(registry), this.redis.unsubscribe(this.inbox))
  }

  join(member: Member): Effect.Effect<Ask, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.members.set(member.uid, member)
        this.wake.unsafeOpen()
        const ask: Ask = (request, isEnough) => Effect.suspend(() => this.ask(member.uid, request, isEnough))
        return ask
      }),
      () =>
        Effect.suspend(() => {
          this.members.delete(member.uid)
          this.registered.delete(member.uid)
          return Effect.ignore(this.redis.run(leave, registry, [this.key], [member.uid]))
        })
    )
  }

  /** Renews the leases of all members. */
  private get renewed(): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const uids = [...this.members.keys()]
      const before = uids.filter((uid) => this.registered.has(uid)).length
      return Effect.map(this.run(uids), ({ added, found }) => {
        // Of those that are new, all are added. One more was lost.
        this.see(found, added > uids.length - before)
        for (const uid of uids) this.registered.add(uid)
      })
    })
  }

  private run(uids: ReadonlyArray<string>) {
    return this.redis.run(renew, registry, [this.key], [`${this.lease}`, ...uids])
  }

  /** What Redis lost is not yet there again: who was known before is asked too, for as long as a lease. */
  private see(found: ReadonlyArray<string>, isLost: boolean): void {
    if (isLost) this.suspect()
    this.known = this.now() < this.unsureUntil ? [...new Set([...found, ...this.known])] : found
  }

  private suspect(): void {
    this.unsureUntil = this.now() + this.lease
    this.wake.unsafeOpen()
  }

  private ask(
    self: string,
    request: string,
    isEnough: ((answer: string) => boolean) | undefined
  ): Effect.Effect<Answers, BrokerError> {
    if (!this.isHeard) {
      return new BrokerError({ operation: "ask the other nodes", cause: "Redis was not connected yet" })
    }
    return Effect.flatMap(this.run([]), ({ found }) => {
      this.see(found, this.registered.has(self) && !found.includes(self))
      const poll = new Poll(this.known.filter((uid) => uid !== self), isEnough)
      const id = `${++this.asked}`
      this.polls.set(id, { poll, parts: new Messages.Parts() })
      const text = Messages.encodeRequest({ id, inbox: this.inbox, from: self, request })
      return Effect.zipRight(this.redis.publish(registry, text), poll.within(this.timeout)).pipe(
        Effect.ensuring(Effect.sync(() => this.polls.delete(id)))
      )
    })
  }

  private onRequest(message: string): void {
    const asked = Messages.decodeRequest(message)
    if (asked === undefined) return
    for (const member of this.members.values()) {
      if (member.uid !== asked.from) this.fork(this.answer(member, asked))
    }
  }

  /** One part after the other: Redis drops a listener that it has too much for. */
  private answer(member: Member, { id, inbox, request }: Messages.Request): Effect.Effect<void> {
    return Effect.flatMap(member.answer(request), (answer) =>
      Effect.forEach(
        Messages.encodeAnswer({ id, from: member.uid, answer: bounded(answer) }),
        (part) => this.redis.publish(inbox, part),
        { discard: true }
      )).pipe(
        Effect.catchAll((error) => Effect.logDebug("An answer to another node was lost", Cause.fail(error))),
        Effect.annotateLogs({ package: "effect-ws-hub", module: "ClusterRedis" })
      )
  }

  private onAnswer(message: string): void {
    const part = Messages.decodeAnswer(message)
    const asked = part && this.polls.get(part.id)
    if (part === undefined || asked === undefined) return
    const answer = asked.parts.add(part)
    if (answer !== undefined) asked.poll.take(part.from, answer)
  }
}

/**
 * Makes the cluster of the nodes that share a Redis and a prefix, for as long as the current scope is open.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (
  options: ClusterRedisOptions = {}
): Effect.Effect<Cluster["Type"], InvalidOption, RedisConnection | Scope.Scope> =>
  Effect.gen(function*() {
    const timeout = yield* duration("timeout", options.timeout, 1000)
    const lease = yield* duration("lease", options.lease, 10_000)
    const redis = yield* RedisConnection
    const now = yield* monotonic
    const fork = yield* FiberSet.makeRuntime<never>().pipe(Effect.interruptible)
    const nodes = new Nodes(redis, { timeout, lease }, now, fork)
    yield* redis.listen(nodes.listener)
    yield* Effect.addFinalizer(() => nodes.end)
    yield* Effect.forkScoped(Effect.interruptible(nodes.keep))
    return { join: (member) => nodes.join(member) }
  })

/**
 * The cluster of the nodes that share a Redis and a prefix. A node is known within a moment of being connected, and
 * leaves when its scope closes; one that died is known until its lease is over.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options?: ClusterRedisOptions): Layer.Layer<Cluster, InvalidOption, RedisConnection> =>
  Layer.scoped(Cluster, make(options))
