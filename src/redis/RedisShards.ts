/**
 * Which server a name belongs to.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Ear, RedisHearing } from "./RedisHearing.js"
import { type Done, type RedisClient, RedisLink } from "./RedisLink.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"

/** One server: a connection for commands, and one to hear. */
class Shard {
  readonly commands: RedisLink
  readonly hearing: RedisHearing
  /** Of its address, for `weigh`. */
  readonly hash: number
  /** The name of the server's run, or nothing if it does not tell. */
  run = ""

  constructor(config: RedisConfig, server: RedisServer, ear: Ear, onReady: () => void) {
    const locate = Effect.succeed(server)
    this.commands = new RedisLink(config, locate, {
      prepare: (client) => Effect.map(runOf(client), (run) => void (this.run = run)),
      onReady
    })
    this.hearing = new RedisHearing(config, locate, ear, onReady)
    this.hash = hashOf(`${server.host}:${server.port}/${server.database}`)
  }

  get isReady(): boolean {
    return this.commands.isReady && this.hearing.link.isReady
  }

  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      yield* Effect.addFinalizer(() => Effect.sync(() => this.hearing.close()))
      yield* this.commands.forkKeep
      yield* this.hearing.link.forkKeep
    })
  }
}

const runOf = (client: RedisClient): Effect.Effect<string> =>
  Effect.tryPromise(() => client.sendCommand(["INFO", "server"])).pipe(
    Effect.map((info) => /run_id:(\w{8})/.exec(String(info))?.[1] ?? ""),
    Effect.orElseSucceed(() => "")
  )

/** FNV-1a. */
const hashOf = (text: string): number => {
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
 * Servers that know nothing of each other, each with the names for which it weighs most: when one is added, it takes its
 * share of each other's, and nothing else moves.
 *
 * @internal
 */
export class RedisShards {
  readonly publishing = "PUBLISH"
  private readonly shards: ReadonlyArray<Shard>
  private readonly first: Shard

  constructor(config: RedisConfig, ear: Ear, onConnected: () => void) {
    const servers = config.servers._tag === "Shards" ? config.servers.servers : []
    const onReady = () => {
      if (this.isConnected) onConnected()
    }
    this.shards = servers.map((server) => new Shard(config, server, ear, onReady))
    const [first] = this.shards
    if (first === undefined) throw new Error("BUG: no server")
    this.first = first
  }

  get isConnected(): boolean {
    return this.shards.every(({ isReady }) => isReady)
  }

  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.forEach(this.shards, ({ keep }) => keep, { discard: true })
  }

  /** `runAt`: where the name of the server's run goes, or -1. `weight`: how many publications it is. */
  command(owner: string, args: Array<string>, runAt: number, weight: number, done: Done): void {
    const { commands, run } = this.shardOf(owner)
    if (runAt >= 0) args[runAt] = run
    commands.command(args, weight, done)
  }

  subscribe(owner: string, name: string, done: (error: unknown) => void): void {
    this.shardOf(owner).hearing.subscribe(owner, name, done)
  }

  unsubscribe(owner: string, name: string): void {
    this.shardOf(owner).hearing.unsubscribe(name)
  }

  private shardOf(owner: string): Shard {
    let found = this.first
    if (this.shards.length === 1) return found
    const hash = hashOf(owner)
    let most = -1
    for (const shard of this.shards) {
      const weight = weigh(hash, shard.hash)
      if (weight > most) {
        found = shard
        most = weight
      }
    }
    return found
  }
}
