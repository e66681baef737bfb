/**
 * One server of those that share the work.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { attempt, failure, ping, type RedisClient, type RedisFailure } from "./RedisClient.js"
import { type Ear, type HearingEvents, RedisHearing } from "./RedisHearing.js"
import { type Done, RedisLink } from "./RedisLink.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { knownScripts } from "./RedisScripts.js"

/**
 * The name of the server's run; nothing, if it does not tell. Fails while the server is loading its memory, and if it is a
 * replica that takes no writes. Afterwards the server knows our scripts.
 *
 * All nodes must have the same name at the same time, or they would void each other's streams: it may change only with a
 * restart, which all of them notice. So its replication id is no part of it, though it changes when a replica takes over:
 * it also changes an hour after the last replica has left, and no connection is lost by that.
 */
const runOf = (client: RedisClient): Effect.Effect<string, RedisFailure> => {
  const ask = (...args: ReadonlyArray<string>) => attempt((): Promise<unknown> => client.sendCommand(args))
  const load = Effect.forEach(knownScripts(), (lua) => ask("SCRIPT", "LOAD", lua), { concurrency: "unbounded" })
  /** Nothing, if we may not ask. */
  const info = (section: string) => Effect.orElseSucceed(Effect.map(ask("INFO", section), String), () => "")
  return Effect.gen(function*() {
    yield* attempt(() => ping(client))
    if (isReadOnly(yield* info("replication"))) return yield* failure("it is a replica, and takes no writes")
    yield* Effect.ignore(load)
    return /run_id:(\w{8})/.exec(yield* info("server"))?.[1] ?? ""
  })
}

const isReadOnly = (info: string): boolean => /^role:slave\r?$/m.test(info) && /^slave_read_only:1\r?$/m.test(info)

/** @internal */
export interface ShardEvents extends HearingEvents {
  readonly onReady: () => void
  /** A connection was lost, or could not be made. */
  readonly onFailed?: (() => void) | undefined
}

/**
 * A connection for commands, and one to hear: what is subscribed does not wait for answers.
 *
 * @internal
 */
export class RedisShard {
  readonly commands: RedisLink
  readonly hearing: RedisHearing
  private run = ""

  constructor(config: RedisConfig, locate: Effect.Effect<RedisServer, RedisFailure>, ear: Ear, events: ShardEvents) {
    this.commands = new RedisLink(config, locate, {
      prepare: (client) => Effect.map(runOf(client), (run) => void (this.run = run)),
      onReady: events.onReady,
      onFailed: events.onFailed
    })
    this.hearing = new RedisHearing(config, locate, ear, events)
  }

  get isReady(): boolean {
    return this.commands.isReady && this.hearing.link.isReady
  }

  /** `runAt`: where the name of the server's run goes, or -1. `weight`: how many publications it is. */
  command(args: Array<string>, runAt: number, weight: number, done: Done): void {
    if (runAt >= 0) args[runAt] = this.run
    this.commands.command(args, weight, done)
  }

  /** Gives the present connections up, and makes others. */
  drop(reason: RedisFailure): void {
    this.commands.drop(reason)
    this.hearing.link.drop(reason)
  }

  /** Connects, for as long as the scope is open. */
  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      yield* Effect.addFinalizer(() => Effect.sync(() => this.hearing.close()))
      yield* this.commands.forkKeep
      yield* this.hearing.link.forkKeep
    })
  }
}

/**
 * Several servers, or one.
 *
 * @internal
 */
export interface RedisTopology {
  readonly publishing: "PUBLISH" | "SPUBLISH"
  readonly isConnected: boolean
  /** Where the keys of an owner are. Pub/sub knows no databases, so that names must tell. */
  readonly databaseOf: (owner: string) => number
  readonly keep: Effect.Effect<void, never, Scope.Scope>
  readonly command: (owner: string, args: Array<string>, runAt: number, weight: number, done: Done) => void
  readonly subscribe: (owner: string, name: string, done: (error: unknown) => void) => void
  readonly unsubscribe: (owner: string, name: string) => void
}
