import { Effect } from "effect"
import { until } from "./Nodes.js"
import { makeRedisServer } from "./RedisServer.js"

/** A master, a replica, and a Sentinel that fails over after a second. */
export const makeRedisSentinel = Effect.gen(function*() {
  const master = yield* makeRedisServer()
  const replica = yield* makeRedisServer({ args: ["--replicaof", "127.0.0.1", `${master.port}`] })
  yield* until(Effect.map(replica.cli("INFO", "replication"), (info) => info.includes("master_link_status:up")))
  const sentinel = yield* makeRedisServer({ isSentinel: true })
  yield* sentinel.cli("SENTINEL", "MONITOR", "main", "127.0.0.1", `${master.port}`, "1")
  yield* sentinel.cli("SENTINEL", "SET", "main", "down-after-milliseconds", "500", "failover-timeout", "2000")
  yield* until(Effect.map(sentinel.cli("SENTINEL", "REPLICAS", "main"), (text) => text.includes(`${replica.port}`)))
  return { master, replica, sentinel }
})
