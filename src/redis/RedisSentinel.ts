/**
 * Asks Sentinels who the master is.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { ask, attempt, failure, type RedisFailure } from "./RedisClient.js"
import { RedisLink } from "./RedisLink.js"
import type { RedisConfig, RedisServer, RedisServers } from "./RedisOptions.js"

const isMaster = (server: RedisServer, config: RedisConfig) =>
  Effect.filterOrFail(
    ask(server, config, ["ROLE"]),
    (role) => Array.isArray(role) && role[0] === "master",
    () => failure(`${server.host}:${server.port} is not the master any more`)
  )

/**
 * The master that says so itself, by the word of whichever Sentinel is first: all are asked at once, since one that is mute
 * must not be waited for, and after a failover some may still name the old one.
 *
 * @internal
 */
export const locateMaster = (
  { master, name, sentinels }: RedisServers & { readonly _tag: "Sentinel" },
  config: RedisConfig
): Effect.Effect<RedisServer, RedisFailure> =>
  Effect.suspend(() => {
    const reasons: Array<string> = []
    const attempts = sentinels.map((sentinel) =>
      Effect.gen(function*() {
        const found = yield* ask(sentinel, config, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])
        if (!Array.isArray(found)) return yield* failure(`Sentinel knows no master ${name}`)
        const [host, port] = found as ReadonlyArray<unknown>
        const server = { ...master, host: String(host), port: Number(port) }
        yield* isMaster(server, config)
        return server
      }).pipe(Effect.tapError(({ message }) => Effect.sync(() => reasons.push(message))))
    )
    return Effect.mapError(Effect.raceAll(attempts), () => failure(`Sentinel: ${reasons.join(", ")}`))
  })

/**
 * Hears from the Sentinels that there is another master: the old one may take commands for ten seconds more.
 *
 * @internal
 */
export const watchSentinels = (
  { name, sentinels }: RedisServers & { readonly _tag: "Sentinel" },
  config: RedisConfig,
  onSwitch: () => void
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.forEach(sentinels, (sentinel) => {
    const onMessage = (message: string) => {
      if (message.startsWith(`${name} `)) onSwitch()
    }
    return new RedisLink(config, Effect.succeed(sentinel), {
      prepare: (client) => attempt(() => client.subscribe("+switch-master", onMessage))
    }).forkKeep
  }, { discard: true })
