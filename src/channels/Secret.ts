/**
 * Comparison of secrets that does not tell by its time how much of them is right.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

const digest = (text: string) =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (bytes) => new Uint8Array(bytes)
  )

/**
 * Whether `actual` is the secret. An empty secret is one that was not set: nothing equals it.
 *
 * Digests are compared, all of their bytes always: the time depends on the length of `actual` only, and where two digests
 * begin to differ tells nothing about the texts.
 *
 * @since 1.0.0
 * @category guards
 */
export const equals = (secret: Redacted.Redacted<string>, actual: string): Effect.Effect<boolean> =>
  Effect.map(Effect.all([digest(Redacted.value(secret)), digest(actual)]), ([expected, found]) => {
    const difference = expected.reduce((bits, byte, index) => bits | (byte ^ (found[index] ?? 0)), 0)
    return difference === 0 && Redacted.value(secret) !== ""
  })
