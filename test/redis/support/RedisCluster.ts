import { Effect, type Scope } from "effect"
import { until } from "./Nodes.js"
import { makeRedisServer, type RedisServer, type RedisServerOptions } from "./RedisServer.js"

const slots = 16384

export interface RedisClusterOptions extends Pick<RedisServerOptions, "args" | "cliArgs" | "tls"> {
  readonly masters?: number
  /** One for each master. */
  readonly replicas?: boolean
  /** Servers that have no slots yet. */
  readonly spares?: number
  /** Milliseconds until a server that says nothing is given up by the others. */
  readonly nodeTimeout?: number
}

/** Masters that share the slots, and what else is asked for, as servers of one Cluster. */
export const makeRedisCluster = (
  { args = [], masters = 3, nodeTimeout = 500, replicas = false, spares = 0, ...options }: RedisClusterOptions = {}
): Effect.Effect<ReadonlyArray<RedisServer>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const servers = yield* Effect.forEach(
      Array.from({ length: (replicas ? 2 * masters : masters) + spares }),
      () =>
        makeRedisServer({
          ...options,
          args: ["--cluster-enabled", "yes", "--cluster-node-timeout", `${nodeTimeout}`, ...args]
        })
    )
    const [first] = servers
    if (first === undefined) return []
    for (let index = 0; index < masters; index++) {
      const from = Math.ceil(index * slots / masters)
      const to = Math.ceil((index + 1) * slots / masters) - 1
      yield* servers[index]?.cli("CLUSTER", "ADDSLOTSRANGE", `${from}`, `${to}`) ?? Effect.void
    }
    for (const server of servers) yield* server.cli("CLUSTER", "MEET", "127.0.0.1", `${first.port}`)
    const all = (holds: (info: string) => boolean, of: ReadonlyArray<RedisServer> = servers) =>
      until(
        Effect.map(Effect.forEach(of, (server) => server.cli("CLUSTER", "INFO")), (infos) => infos.every(holds))
      )
    yield* all((info) => info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${servers.length}`))
    for (const [index, server] of servers.slice(masters, replicas ? 2 * masters : masters).entries()) {
      const master = yield* servers[index]?.cli("CLUSTER", "MYID") ?? Effect.succeed("")
      yield* until(Effect.map(server.cli("CLUSTER", "REPLICATE", master), (reply) => reply === "OK"))
      yield* until(Effect.map(server.cli("INFO", "replication"), (info) => info.includes("master_link_status:up")))
    }
    return servers
  })
