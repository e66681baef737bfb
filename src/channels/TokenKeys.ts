/**
 * The keys that tokens are checked with: which algorithms they allow, and the key of a token.
 *
 * @since 1.0.0
 */
import type * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { decodeProtectedHeader } from "jose/decode/protected_header"
import { JWKSNoMatchingKey, JWKSTimeout, JWSInvalid } from "jose/errors"
import { createRemoteJWKSet, customFetch, type FetchImplementation } from "jose/jwks/remote"
import type { JWTVerifyGetKey } from "jose/jwt/verify"
import { importSPKI } from "jose/key/import"
import { InvalidOption } from "../core/HubError.js"

/**
 * The keys that are configured. A token is checked with the key that its algorithm belongs to; an algorithm without a key
 * is not accepted.
 *
 * @since 1.0.0
 * @category models
 */
export interface KeyOptions {
  /** Checks HS256, HS384 and HS512. */
  readonly hmacSecret?: Redacted.Redacted<string> | undefined
  /** PEM of the kind `BEGIN PUBLIC KEY`, 2048 bits or more. Checks RS256, RS384 and RS512. */
  readonly rsaPublicKey?: string | undefined
  /** PEM of the kind `BEGIN PUBLIC KEY`. Checks ES256, ES384 or ES512, as its curve is P-256, P-384 or P-521. */
  readonly ecdsaPublicKey?: string | undefined
  /** PEM of the kind `BEGIN PUBLIC KEY`. Checks EdDSA. */
  readonly ed25519PublicKey?: string | undefined
  /**
   * Where a JSON Web Key Set is, instead of the three keys before: its public keys check RS, ES and EdDSA. If it has
   * several of a kind, tokens name theirs by `kid`. While it cannot be had, clients get error 100 and try again.
   */
  readonly jwksUrl?: string | undefined
  /** Age at which the key set is fetched again. Defaults to 10 minutes. */
  readonly jwksMaxAge?: Duration.DurationInput | undefined
  /** Time after a fetch in which a `kid` that is not in the set does not fetch it again. Defaults to 30 seconds. */
  readonly jwksCooldown?: Duration.DurationInput | undefined
}

/**
 * The key set cannot be had now, so that nothing is known about the token.
 *
 * @internal
 */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable"
  /** Whether nothing new was found out: no key set was fetched for it. */
  readonly isKnown: boolean

  constructor(message: string, options: { readonly cause?: unknown; readonly isKnown?: boolean } = {}) {
    super(message, options)
    this.isKnown = options.isKnown ?? false
  }
}

/** @internal */
export interface TokenKeys {
  readonly algorithms: ReadonlyArray<string>
  /** Rejects with {@link KeysUnavailable}, or because there is no such key. */
  readonly keyOf: JWTVerifyGetKey
  /**
   * Of a token whose signature is wrong: whether there are other keys now, with which it may be right. Rejects with
   * {@link KeysUnavailable} while that cannot be known.
   */
  readonly renew: (token: string) => Promise<boolean>
}

type Key = Awaited<ReturnType<typeof importSPKI>>

/** After a fetch that failed there is none for this time: else every token of a returning crowd would try. */
const pause = 1000

/** @internal */
export const millis = (
  key: string,
  input: Duration.DurationInput | undefined,
  fallback: number
): Effect.Effect<number, InvalidOption> => {
  if (input === undefined) return Effect.succeed(fallback)
  const negative = typeof input === "string" ? input.trim().startsWith("-") : typeof input === "number" && !(input >= 0)
  const parsed = Duration.decodeUnknown(input)
  return negative || parsed._tag === "None" || !Duration.isFinite(parsed.value)
    ? Effect.fail(
      new InvalidOption({
        key,
        expected: "a duration such as \"10 seconds\" or a number of milliseconds",
        actual: parsed._tag === "None" || negative ? input : Duration.format(parsed.value)
      })
    )
    : Effect.succeed(Duration.toMillis(parsed.value))
}

const hmacKeys = (secret: Redacted.Redacted<string>) => {
  const text = Redacted.value(secret)
  const expected = text === "" ? "a secret that is not empty" : "a secret, not a key in PEM, which may be public"
  return text === "" || text.includes("-----BEGIN ")
    ? Effect.fail(new InvalidOption({ key: "hmacSecret", expected, actual: text === "" ? "" : secret }))
    : Effect.promise(() =>
      Promise.all(
        ["256", "384", "512"].map(async (bits): Promise<readonly [string, Key]> => [
          `HS${bits}`,
          await crypto.subtle.importKey(
            "raw",
            new TextEncoder().encode(text),
            { name: "HMAC", hash: `SHA-${bits}` },
            false,
            ["verify"]
          )
        ])
      )
    )
}

/** Imports a key for each of the algorithms that it fits. */
const publicKeys = (key: string, kind: string, pem: string | undefined, algorithms: ReadonlyArray<string>) =>
  pem === undefined ? Effect.succeed([]) : Effect.promise(() =>
    Promise.all(
      algorithms.map((algorithm) =>
        importSPKI(pem.trim(), algorithm).then(
          (found): ReadonlyArray<readonly [string, Key]> => modulusLength(found) < 2048 ? [] : [[algorithm, found]],
          () => []
        )
      )
    )
  ).pipe(
    Effect.map((keys) => keys.flat()),
    Effect.filterOrFail(
      (keys) => keys.length > 0,
      // Redacted, since it may be the private key by mistake.
      () =>
        new InvalidOption({
          key,
          expected: `${kind} in PEM, with the line -----BEGIN PUBLIC KEY-----`,
          actual: Redacted.make(pem)
        })
    )
  )

const modulusLength = ({ algorithm }: Key) =>
  "modulusLength" in algorithm && typeof algorithm.modulusLength === "number" ? algorithm.modulusLength : Infinity

const httpUrl = (text: string) =>
  Effect.suspend(() => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    const secret = url !== undefined && (url.username !== "" || url.password !== "")
    return url !== undefined && (url.protocol === "https:" || url.protocol === "http:") && !secret
      ? Effect.succeed(url)
      : Effect.fail(
        new InvalidOption({
          key: "jwksUrl",
          expected: "a URL that begins with https: or http:, without a user and password",
          actual: text.includes("@") ? Redacted.make(text) : text
        })
      )
  })

const isKeySet = Schema.is(Schema.Struct({ keys: Schema.Array(Schema.declare(Predicate.isRecord)) }))

const remoteKeys = (url: URL, options: KeyOptions) =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const cacheMaxAge = yield* millis("jwksMaxAge", options.jwksMaxAge, 600_000)
    const cooldownDuration = yield* millis("jwksCooldown", options.jwksCooldown, 30_000)
    const closing = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (controller) => Effect.sync(() => controller.abort())
    )
    let fetches = 0
    let pausedUntil = -Infinity
    const load: FetchImplementation = async (href, init) => {
      if (clock.unsafeCurrentTimeMillis() < pausedUntil) {
        throw new KeysUnavailable("The last fetch of the JWKS failed.", { isKnown: true })
      }
      try {
        const response = await fetch(href, { ...init, signal: AbortSignal.any([init.signal, closing.signal]) })
        if (response.status !== 200) throw new KeysUnavailable(`The JWKS came with status ${response.status}.`)
        if (!isKeySet(await response.clone().json())) throw new KeysUnavailable("The JWKS is none.")
        fetches++
        return response
      } catch (error) {
        pausedUntil = clock.unsafeCurrentTimeMillis() + pause
        throw error instanceof KeysUnavailable
          ? error
          : new KeysUnavailable("The JWKS cannot be had.", { cause: error })
      }
    }
    const keys = createRemoteJWKSet(url, { cacheMaxAge, cooldownDuration, [customFetch]: load })
    const failed = (error: unknown): never => {
      throw error instanceof JWKSTimeout ? new KeysUnavailable("The JWKS did not come in time.") : error
    }
    const keyOf: JWTVerifyGetKey = async (header, token) => {
      const before = fetches
      try {
        return await keys(header, token)
      } catch (error) {
        // Without a fetch of its own an unknown key may be one that is new: the client is to ask again.
        if (error instanceof JWKSNoMatchingKey && fetches === before) {
          throw new KeysUnavailable("The token's key is not in the JWKS, which was fetched a moment ago.", {
            isKnown: true
          })
        }
        return failed(error)
      }
    }
    /** Where a token names its key, the fetch was made when the name was not known. */
    const renew = async (kid: string | undefined): Promise<boolean> => {
      if (kid !== undefined) return false
      if (keys.coolingDown) {
        throw new KeysUnavailable("The token names no key, and the JWKS was fetched a moment ago.", { isKnown: true })
      }
      await keys.reload().catch(failed)
      return true
    }
    return { keyOf, renew }
  })

/**
 * An algorithm belongs to one key only, whatever a token's header says. The errors are all that is wrong with the keys.
 *
 * @internal
 */
export const make = (
  options: KeyOptions
): Effect.Effect<TokenKeys, Arr.NonEmptyReadonlyArray<InvalidOption>, Scope.Scope> =>
  Effect.gen(function*() {
    const fixed = (["rsaPublicKey", "ecdsaPublicKey", "ed25519PublicKey"] as const)
      .filter((key) => options[key] !== undefined)
    const given = yield* Effect.validateAll([
      options.hmacSecret === undefined ? Effect.succeed([]) : hmacKeys(options.hmacSecret),
      publicKeys(
        "rsaPublicKey",
        "an RSA public key of 2048 bits or more",
        options.rsaPublicKey,
        ["RS256", "RS384", "RS512"]
      ),
      publicKeys(
        "ecdsaPublicKey",
        "a public key on P-256, P-384 or P-521",
        options.ecdsaPublicKey,
        ["ES256", "ES384", "ES512"]
      ),
      publicKeys("ed25519PublicKey", "an Ed25519 public key", options.ed25519PublicKey, ["EdDSA"]),
      ...(options.jwksUrl === undefined ? [] : fixed).map((key) =>
        new InvalidOption({ key, expected: "no public key beside jwksUrl, which has the public keys", actual: "both" })
      )
    ], (keys) => keys)
    const keys = new Map(given.flat())
    const remote = options.jwksUrl === undefined
      ? undefined
      : yield* Effect.mapError(
        Effect.flatMap(httpUrl(options.jwksUrl), (url) => remoteKeys(url, options)),
        (error) => [error] as const
      )
    const fromRemote = remote === undefined ? [] : ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"]
    return {
      algorithms: [...keys.keys(), ...fromRemote],
      keyOf: (header, token) => {
        const key = keys.get(header.alg)
        if (key !== undefined) return key
        if (remote !== undefined) return remote.keyOf(header, token)
        throw new JWSInvalid("no key for the algorithm")
      },
      renew: async (token) => {
        const { alg, kid } = decodeProtectedHeader(token)
        return remote !== undefined && alg !== undefined && !keys.has(alg) && await remote.renew(kid)
      }
    }
  })
