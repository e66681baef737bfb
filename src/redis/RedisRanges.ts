/**
 * Asks a Cluster who has which slots.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { ask, attempt, failure, type RedisClient, RedisFailure } from "./RedisClient.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"

/**
 * As the Cluster tells it: who has which slots.
 *
 * @internal
 */
export interface Range {
  readonly from: number
  readonly to: number
  /** Host and port. */
  readonly address: string
}

const rangesOf = (reply: unknown, asked: RedisServer): ReadonlyArray<Range> => {
  if (!Array.isArray(reply) || reply.length === 0) throw new Error("the Cluster has no slots yet")
  return reply.map((range: unknown) => {
    const [from, to, master] = range as readonly [number, number, readonly [string | null, number]]
    const host = master[0] === null || master[0] === "" || master[0] === "?" ? asked.host : master[0]
    return { from: Number(from), to: Number(to), address: `${host}:${Number(master[1])}` }
  })
}

type Ask = (...command: ReadonlyArray<string>) => Effect.Effect<unknown, RedisFailure>

/** Fails if the node is cut off from the others: it does not know what became of them. */
const whole = (ask: Ask) =>
  Effect.filterOrFail(
    ask("CLUSTER", "INFO"),
    (info) => String(info).includes("cluster_state:ok"),
    () => failure("the Cluster is down")
  )

/**
 * Who has which slots, by the word of the first node that is not cut off from the others; if all are, of the first that
 * answers.
 *
 * @internal
 */
export const askRanges = (
  config: RedisConfig,
  connected: ReadonlyArray<readonly [RedisServer, RedisClient]>,
  seeds: ReadonlyArray<RedisServer>
): Effect.Effect<ReadonlyArray<Range>, RedisFailure> => {
  const asks: ReadonlyArray<readonly [RedisServer, Ask]> = [
    ...connected.map(([server, client]) =>
      [
        server,
        (...command: ReadonlyArray<string>) =>
          Effect.timeoutFail(attempt((): Promise<unknown> => client.sendCommand(command)), {
            duration: config.commandTimeout,
            onTimeout: () => failure("no answer")
          })
      ] as const
    ),
    ...seeds.map((server) => [server, (...command: ReadonlyArray<string>) => ask(server, config, command)] as const)
  ]
  const ranges = ([server, ask]: readonly [RedisServer, Ask]) =>
    Effect.flatMap(
      ask("CLUSTER", "SLOTS"),
      (reply) => Effect.try({ try: () => rangesOf(reply, server), catch: (cause) => new RedisFailure({ cause }) })
    )
  return Effect.validateFirst(asks, (one) => Effect.zipRight(whole(one[1]), ranges(one))).pipe(
    Effect.orElse(() => Effect.validateFirst(asks, ranges)),
    Effect.mapError((errors) => failure(Array.from(new Set(errors.map(({ message }) => message))).join(", ")))
  )
}
