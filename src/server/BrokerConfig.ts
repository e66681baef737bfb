/**
 * What is configured of the broker, and what it means for Redis.
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as RedisOptions from "../redis/RedisOptions.js"
import type { Configuration } from "./Configuration.js"
import { millis } from "./Leaf.js"
import type { Problem } from "./Problems.js"

type Given = NonNullable<Configuration["broker"]>

/**
 * The broker. Of what is not there, the default is that of `RedisOptions`.
 */
export interface BrokerConfig extends Omit<Given, "commandTimeout" | "nodeTimeout"> {
  readonly type: "memory" | "redis"
  /** Milliseconds. */
  readonly commandTimeout: number | undefined
  /** Milliseconds. */
  readonly nodeTimeout: number | undefined
  /** What happens to connections until Redis is there for the first time. */
  readonly whileUnavailable: "refuse" | "serve"
}

/**
 * The broker, as it was given, with what is assumed.
 */
export const make = (given: Given = {}): BrokerConfig => ({
  ...given,
  type: given.type ?? "memory",
  commandTimeout: given.commandTimeout === undefined ? undefined : millis(given.commandTimeout),
  nodeTimeout: given.nodeTimeout === undefined ? undefined : millis(given.nodeTimeout),
  whileUnavailable: given.whileUnavailable ?? "refuse"
})

const plain = (urls: ReadonlyArray<Redacted.Redacted> | undefined) => urls?.map(Redacted.value)

/**
 * The options of the connection. Secrets are in the clear.
 */
export const redisOptions = (
  { cluster, commandTimeout, password, prefix, sentinel, url, urls, username }: BrokerConfig
): RedisOptions.RedisOptions => ({
  url: url && Redacted.value(url),
  urls: plain(urls),
  cluster: plain(cluster),
  sentinel: sentinel && { name: sentinel.name ?? "", urls: plain(sentinel.urls) ?? [] },
  username,
  password,
  prefix,
  commandTimeout
})

const servers = ["url", "urls", "cluster", "sentinel"] as const

const problem = (message: string, ...path: ReadonlyArray<string>): Problem => ({ path: ["broker", ...path], message })

/**
 * What does not go together. Addresses are not shown, since there are passwords in them.
 */
export const problems = (broker: BrokerConfig, given: unknown): ReadonlyArray<Problem> => {
  if (broker.type === "memory") {
    const others = typeof given === "object" && given !== null ? Object.keys(given) : []
    return others.filter((key) => key !== "type").map((key) => problem("is for broker.type: redis.", key))
  }
  const { nodeTimeout, sentinel } = broker
  const [, second] = servers.filter((key) => broker[key] !== undefined)
  if (second !== undefined) return [problem("only one of url, urls, cluster and sentinel can be there.", second)]
  if (sentinel !== undefined && sentinel.name === undefined) {
    return [problem("it is missing: the name of the master.", "sentinel", "name")]
  }
  const checked = RedisOptions.make(redisOptions(broker))
  if (Either.isLeft(checked)) {
    const { expected, key } = checked.left
    if (key === "database") return [problem("a Redis Cluster has no databases.", "cluster")]
    return [problem(`expected ${expected}.`, ...(key === "sentinel" ? [key, "urls"] : [key]))]
  }
  return nodeTimeout !== undefined && (nodeTimeout < 10 || nodeTimeout > 3_600_000)
    ? [problem("expected a duration from 10 ms to an hour.", "nodeTimeout")]
    : []
}
