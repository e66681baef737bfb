/**
 * The times of a guarded server: from options, or from `Config`.
 *
 * @since 1.0.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as HubConfig from "../core/HubConfig.js"

/**
 * Options of the guarded server. Each has a `Config` key: see {@link config}.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options {
  /**
   * Time for a client to send the headers of a request, from its connection or its first byte. 0: no limit. Defaults to 10
   * seconds.
   */
  readonly headersTimeout?: Duration.DurationInput | undefined
  /** Time that requests under way have to end after the server began to close. 0: none. Defaults to 2 seconds. */
  readonly closeGrace?: Duration.DurationInput | undefined
}

/** One row per option: its default in milliseconds, and its `Config` key under `HUB_GUARD`. */
const rows = {
  headersTimeout: { fallback: 10_000, variable: "HEADERS_TIMEOUT" },
  closeGrace: { fallback: 2000, variable: "CLOSE_GRACE" }
} satisfies Record<keyof Options, { readonly fallback: number; readonly variable: string }>

const keys = ["headersTimeout", "closeGrace"] as const

const expected = "a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days"

/**
 * Fills in the defaults. Throws a `RangeError` for an option that is no time, and for one that there is not.
 *
 * @internal
 */
export const make = (options: Options): Readonly<Record<keyof Options, number>> => {
  const unknown = Object.keys(options).find((key) => !Object.hasOwn(rows, key))
  if (unknown !== undefined) {
    throw new RangeError(`A guarded server has no option ${unknown}: use ${keys.join(" and ")}.`)
  }
  const millis = (key: keyof Options): number => {
    const actual = options[key] ?? rows[key].fallback
    const found = HubConfig.millis(actual)
    if (found !== undefined) return found
    throw new RangeError(`${key} of a guarded server: expected ${expected}, got ${String(actual)}.`)
  }
  return { headersTimeout: millis("headersTimeout"), closeGrace: millis("closeGrace") }
}

/**
 * The options from `Config`: `HUB_GUARD_HEADERS_TIMEOUT` and `HUB_GUARD_CLOSE_GRACE`, as `"10 seconds"` or milliseconds.
 * What is not set takes the default.
 *
 * @since 1.0.0
 * @category config
 */
export const config: Config.Config<Options> = Config.nested(
  Config.map(
    Config.all(
      keys.map((key) =>
        Config.string(rows[key].variable).pipe(
          Config.mapOrFail((text) => {
            const millis = HubConfig.millis(/^\d+$/.test(text.trim()) ? Number(text) : text.trim())
            return millis === undefined
              ? Either.left(ConfigError.InvalidData([], `Expected ${expected}, got ${JSON.stringify(text)}`))
              : Either.right([key, millis] as const)
          }),
          Config.option
        )
      )
    ),
    (entries): Options => Object.fromEntries(entries.flatMap((entry) => entry._tag === "Some" ? [entry.value] : []))
  ),
  "HUB_GUARD"
)
