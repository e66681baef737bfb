/**
 * Makes tokens, for the command line, for tests, and for applications that have the secret.
 *
 * @since 1.0.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SignJWT } from "jose/jwt/sign"
import { InvalidOption } from "../core/HubError.js"
import { millis } from "./TokenKeys.js"

/**
 * What every token has.
 *
 * @since 1.0.0
 * @category models
 */
export interface TokenOptions {
  /** The same as `hmacSecret` of the authenticator. */
  readonly secret: Redacted.Redacted<string>
  /** Empty for an anonymous user. */
  readonly user: string
  /** Absent: the token does not expire. */
  readonly expireIn?: Duration.DurationInput | undefined
  /** JSON that others see. */
  readonly info?: unknown
  readonly audience?: string | undefined
  readonly issuer?: string | undefined
}

const sign = (options: TokenOptions, claims: Readonly<Record<string, unknown>>): Effect.Effect<string, InvalidOption> =>
  Effect.gen(function*() {
    if (Redacted.value(options.secret) === "") {
      return yield* new InvalidOption({ key: "secret", expected: "a secret that is not empty", actual: "" })
    }
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const lifetime = yield* millis("expireIn", options.expireIn, Infinity)
    const all = {
      sub: options.user,
      iat: now,
      exp: Number.isFinite(lifetime) ? now + Math.ceil(lifetime / 1000) : undefined,
      aud: options.audience,
      iss: options.issuer,
      info: options.info,
      ...claims
    }
    return yield* Effect.tryPromise({
      try: () =>
        new SignJWT(JSON.parse(JSON.stringify(all)))
          .setProtectedHeader({ alg: "HS256", typ: "JWT" })
          .sign(new TextEncoder().encode(Redacted.value(options.secret))),
      catch: () => new InvalidOption({ key: "info", expected: "what JSON can hold", actual: typeof options.info })
    })
  })

/**
 * A token to connect with. The server subscribes the client to the `channels`.
 *
 * @since 1.0.0
 * @category constructors
 */
export const connection = (
  options: TokenOptions & { readonly channels?: ReadonlyArray<string> | undefined }
): Effect.Effect<string, InvalidOption> => sign(options, { channels: options.channels })

/**
 * A token to subscribe to one channel with, for one user.
 *
 * @since 1.0.0
 * @category constructors
 */
export const subscription = (
  options: TokenOptions & { readonly channel: string }
): Effect.Effect<string, InvalidOption> => sign(options, { channel: options.channel })
