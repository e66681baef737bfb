/**
 * The keys of the server API, compared so that the time it takes says nothing of them.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ApiKey } from "./ServerApiDefinition.js"

/** Digests have one length, and their bytes say nothing of the key's. */
const digest = (key: string): Effect.Effect<Uint8Array> =>
  Effect.map(
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(key))),
    (bytes) => new Uint8Array(bytes)
  )

/** Of two digests. Looks at all bytes, wherever they differ. */
const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one.reduce((difference, byte, i) => difference | (byte ^ (other[i] ?? 256)), 0) === 0

/**
 * Whether a key is one of these. The time it takes depends on neither.
 *
 * @internal
 */
export const accepts = (
  keys: ReadonlyArray<Redacted.Redacted>
): Effect.Effect<(key: string) => Effect.Effect<boolean>> =>
  Effect.map(
    Effect.forEach(keys, (key) => digest(Redacted.value(key))),
    (digests) => (key) =>
      Effect.map(digest(key), (given) => {
        let found = false
        for (const known of digests) {
          if (isSame(known, given)) found = true
        }
        return found
      })
  )

/**
 * Asks every request for one of these keys.
 *
 * @internal
 */
export const layer = (keys: ReadonlyArray<Redacted.Redacted>): Layer.Layer<ApiKey> =>
  Layer.effect(
    ApiKey,
    Effect.map(accepts(keys), (accepted) => {
      const check = (key: string) =>
        Effect.flatMap(
          accepted(key),
          (isAccepted) => isAccepted ? Effect.void : Effect.fail({ code: 101, message: "unauthorized" } as const)
        )
      return ApiKey.of({
        key: (given) => check(Redacted.value(given)),
        authorization: (given) => check(/^apikey +(.*)$/is.exec(Redacted.value(given))?.[1] ?? "")
      })
    })
  )
