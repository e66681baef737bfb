/**
 * What a node needs of Redis.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { BrokerError } from "../channels/Broker.js"
import type { InvalidOption } from "../core/HubError.js"
import { RedisCluster } from "./RedisCluster.js"
import type { Ear } from "./RedisHearing.js"
import * as Metrics from "./RedisMetrics.js"
import type { RedisConfig, RedisOptions } from "./RedisOptions.js"
import * as Options from "./RedisOptions.js"
import { type RedisScript, shaOf } from "./RedisScripts.js"
import { locateMaster, watchSentinels } from "./RedisSentinel.js"
import type { RedisTopology } from "./RedisShard.js"
import { locatedOf, RedisShards } from "./RedisShards.js"
import { tagOf } from "./RedisSlots.js"

/**
 * Who hears the messages of a connection, of all names that are subscribed. Called synchronously; must not throw.
 *
 * @since 1.0.0
 * @category models
 */
export interface RedisListener {
  readonly onMessage: (owner: string, message: string) => void
  /** Messages of this name may have been missed. */
  readonly onGap: (owner: string) => void
}

/**
 * What a node needs of Redis, whether that is one server or many. An *owner* is the name of a channel, or a name of our
 * own; all keys of an owner are on one server.
 *
 * @since 1.0.0
 * @category tags
 */
export class RedisConnection extends Context.Tag("effect-ws-hub/RedisConnection")<RedisConnection, {
  readonly config: RedisConfig
  /** The name of a key of an owner; without a kind, of its pub/sub channel. */
  readonly key: (owner: string, kind?: string) => string
  /** How a script publishes to the name of an owner. */
  readonly publishing: "PUBLISH" | "SPUBLISH"
  /** Runs a script in one step, on the server of the owner. All `keys` are keys of this owner. */
  readonly run: <A>(
    script: RedisScript<A>,
    owner: string,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) => Effect.Effect<A, BrokerError>
  /** The same, for what is done too often to make an effect of it. `weight`: how many publications it is. */
  readonly unsafeRun: <A>(
    script: RedisScript<A>,
    owner: string,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>,
    done: (exit: Exit.Exit<A, BrokerError>) => void,
    weight?: number
  ) => void
  /** Publishes to whoever has subscribed the owner. */
  readonly publish: (owner: string, message: string) => Effect.Effect<void, BrokerError>
  /** The same, for what is done too often to make an effect of it. */
  readonly unsafePublish: (
    owner: string,
    message: string,
    done: (exit: Exit.Exit<void, BrokerError>) => void,
    weight?: number
  ) => void
  /**
   * Listeners hear of what is published for the owner after this has completed. Calls are not counted: one `unsubscribe`
   * ends it. Joined into one command per turn of the event loop.
   */
  readonly subscribe: (owner: string) => Effect.Effect<void, BrokerError>
  /** Listeners hear nothing more at once; Redis is told after `linger`, if the name was not subscribed again. */
  readonly unsubscribe: (owner: string) => Effect.Effect<void>
  readonly listen: (listener: RedisListener) => Effect.Effect<void, never, Scope.Scope>
  /** Whether all servers answer. */
  readonly isConnected: Effect.Effect<boolean>
  /** Completes when all servers have answered for the first time. */
  readonly connected: Effect.Effect<void>
}>() {}

/** Listeners may come and go while they are told something. */
class Listeners implements Ear {
  private all: ReadonlyArray<RedisListener> = []

  add(listener: RedisListener): () => void {
    const own: RedisListener = { ...listener }
    this.all = [...this.all, own]
    return () => {
      this.all = this.all.filter((other) => other !== own)
    }
  }

  onMessage(owner: string, message: string): void {
    for (const listener of this.all) listener.onMessage(owner, message)
  }

  onGap(owner: string): void {
    for (const listener of this.all) listener.onGap(owner)
  }
}

const topologyOf = (config: RedisConfig, ear: Ear, onConnected: () => void): RedisTopology => {
  const { servers } = config
  switch (servers._tag) {
    case "Shards":
      return new RedisShards(config, locatedOf(servers.servers), ear, onConnected)
    case "Sentinel":
      return new RedisShards(
        config,
        [{ address: servers.name, locate: locateMaster(servers, config), database: servers.master.database }],
        ear,
        onConnected,
        (onSwitch) => watchSentinels(servers, config, onSwitch)
      )
    case "Cluster":
      return new RedisCluster(config, servers.seeds, ear, onConnected)
  }
}

/**
 * Connects to Redis, for as long as the current scope is open. Does not wait for it: until it is there, and whenever it
 * is not, commands fail at once.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (
  options: RedisOptions = {}
): Effect.Effect<RedisConnection["Type"], InvalidOption, Scope.Scope> =>
  Effect.gen(function*() {
    const config = yield* Options.make(options)
    yield* Metrics.touch
    const listeners = new Listeners()
    const connected = yield* Deferred.make<void>()
    const shards = topologyOf(config, listeners, () => Deferred.unsafeDone(connected, Effect.void))
    yield* shards.keep
    const { prefix } = config

    // No prefix has a brace: none can be mistaken for another one with a database.
    const key = (owner: string, kind?: string) => {
      const database = shards.databaseOf(owner)
      const name = `${database === 0 ? prefix : `${prefix}{${database}}`}:{${tagOf(owner)}}`
      return kind === undefined ? name : `${name}:${kind}`
    }

    const unsafeRun: RedisConnection["Type"]["unsafeRun"] = (script, owner, keys, args, done, weight = 1) => {
      const { isRunBound = false, lua, name } = script
      const before = performance.now()
      const command = isRunBound
        ? ["EVALSHA", shaOf(lua), `${keys.length}`, ...keys, "", ...args]
        : ["EVALSHA", shaOf(lua), `${keys.length}`, ...keys, ...args]
      const runAt = isRunBound ? 3 + keys.length : -1
      const failed = (cause: unknown) => {
        Metrics.errors(name).unsafeUpdate(1, [])
        done(Exit.fail(new BrokerError({ operation: name, cause })))
      }
      const settle = (error: unknown, reply: unknown) => {
        if (error !== undefined) return failed(error)
        let value
        try {
          value = script.decode(reply)
        } catch (cause) {
          return failed(cause)
        }
        Metrics.commands(name).unsafeUpdate((performance.now() - before) / 1000, [])
        done(Exit.succeed(value))
      }
      shards.command(owner, command, runAt, weight, (error, reply) => {
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) return settle(error, reply)
        command[0] = "EVAL"
        command[1] = lua
        shards.command(owner, command, runAt, weight, settle)
      })
    }

    const unsafePublish: RedisConnection["Type"]["unsafePublish"] = (owner, message, done, weight = 1) => {
      const before = performance.now()
      shards.command(owner, [shards.publishing, key(owner), message], -1, weight, (cause) => {
        if (cause !== undefined) {
          Metrics.errors("publish").unsafeUpdate(1, [])
          return done(Exit.fail(new BrokerError({ operation: "publish", cause })))
        }
        Metrics.commands("publish").unsafeUpdate((performance.now() - before) / 1000, [])
        done(Exit.void)
      })
    }

    return RedisConnection.of({
      config,
      key,
      publishing: shards.publishing,
      unsafeRun,
      unsafePublish,
      run: (script, owner, keys, args) => Effect.async((resume) => unsafeRun(script, owner, keys, args, resume)),
      publish: (owner, message) => Effect.async((resume) => unsafePublish(owner, message, resume)),
      subscribe: (owner) =>
        Effect.async<void, BrokerError>((resume) => {
          const before = performance.now()
          shards.subscribe(owner, key(owner), (cause) => {
            if (cause === undefined) {
              Metrics.commands("subscribe").unsafeUpdate((performance.now() - before) / 1000, [])
              return resume(Exit.void)
            }
            Metrics.errors("subscribe").unsafeUpdate(1, [])
            resume(Exit.fail(new BrokerError({ operation: "subscribe", cause })))
          })
        }).pipe(Effect.onInterrupt(() => Effect.sync(() => shards.unsubscribe(owner, key(owner))))),
      unsubscribe: (owner) => Effect.sync(() => shards.unsubscribe(owner, key(owner))),
      listen: (listener) =>
        Effect.asVoid(
          Effect.acquireRelease(Effect.sync(() => listeners.add(listener)), (leave) => Effect.sync(leave))
        ),
      isConnected: Effect.sync(() => shards.isConnected),
      connected: Deferred.await(connected)
    })
  })

/**
 * The connection to Redis. Bind it to a constant: each call makes another one.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options?: RedisOptions): Layer.Layer<RedisConnection, InvalidOption> =>
  Layer.scoped(RedisConnection, make(options))
