/**
 * Servers that know nothing of each other.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { failure, RedisFailure } from "./RedisClient.js"
import type { Ear } from "./RedisHearing.js"
import type { Done } from "./RedisLink.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { RedisShard, type RedisTopology } from "./RedisShard.js"

/**
 * FNV-1a.
 *
 * @internal
 */
export const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash
}

/** A number for a pair of hashes: the last step of MurmurHash3. */
const weigh = (left: number, right: number): number => {
  let hash = left ^ Math.imul(right, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/**
 * The index of the server, among those with these hashes, for which a name weighs most.
 *
 * @internal
 */
export const heaviest = (name: string, servers: ReadonlyArray<number>): number => {
  const hash = hashOf(name)
  let found = 0
  let most = -1
  servers.forEach((server, index) => {
    const weight = weigh(hash, server)
    if (weight > most) {
      found = index
      most = weight
    }
  })
  return found
}

/**
 * By what it is known, how to find it, and which database of it is ours.
 *
 * @internal
 */
export interface Located {
  readonly address: string
  readonly locate: Effect.Effect<RedisServer, RedisFailure>
  readonly database: number
}

/** @internal */
export const locatedOf = (servers: ReadonlyArray<RedisServer>): ReadonlyArray<Located> =>
  servers.map((server) => {
    const { database, host, port } = server
    return { address: `${host}:${port}/${database}`, locate: Effect.succeed(server), database }
  })

/**
 * Each server has the names for which it weighs most: when one is added, it takes its share of each other's, and nothing
 * else moves.
 *
 * @internal
 */
export class RedisShards implements RedisTopology {
  readonly publishing = "PUBLISH"
  private readonly shards: ReadonlyArray<RedisShard>
  private readonly hashes: ReadonlyArray<number>
  /** Nothing, if all are 0. */
  private readonly databases: ReadonlyArray<number>
  private readonly watch: Effect.Effect<void, never, Scope.Scope>

  /** `watch`: tells when servers are to be located anew. */
  constructor(
    config: RedisConfig,
    servers: ReadonlyArray<Located>,
    ear: Ear,
    onConnected: () => void,
    watch: (onSwitch: () => void) => Effect.Effect<void, never, Scope.Scope> = () => Effect.void
  ) {
    const onReady = () => {
      if (this.isConnected) onConnected()
    }
    this.hashes = servers.map(({ address }) => hashOf(address))
    this.databases = servers.every(({ database }) => database === 0) ? [] : servers.map(({ database }) => database)
    this.shards = servers.map(({ locate }) => new RedisShard(config, locate, ear, { onReady }))
    this.watch = watch(() => {
      for (const shard of this.shards) shard.drop(failure("there is another master"))
    })
  }

  get isConnected(): boolean {
    return this.shards.every(({ isReady }) => isReady)
  }

  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.zipRight(this.watch, Effect.forEach(this.shards, ({ keep }) => keep, { discard: true }))
  }

  databaseOf(owner: string): number {
    return this.databases.length === 0 ? 0 : this.databases[this.indexOf(owner)] ?? 0
  }

  command(owner: string, args: Array<string>, runAt: number, weight: number, done: Done): void {
    const shard = this.shardOf(owner)
    shard.command(args, runAt, weight, (error, reply) => {
      // It was the master; who is it now is to be found out.
      if (error instanceof Error && error.message.startsWith("READONLY")) shard.drop(new RedisFailure({ cause: error }))
      done(error, reply)
    })
  }

  subscribe(owner: string, name: string, done: (error: unknown) => void): void {
    this.shardOf(owner).hearing.subscribe(owner, name, done)
  }

  unsubscribe(owner: string, name: string): void {
    this.shardOf(owner).hearing.unsubscribe(name)
  }

  private indexOf(owner: string): number {
    return this.shards.length === 1 ? 0 : heaviest(owner, this.hashes)
  }

  private shardOf(owner: string): RedisShard {
    const shard = this.shards[this.indexOf(owner)]
    if (shard === undefined) throw new Error("BUG: no server")
    return shard
  }
}
