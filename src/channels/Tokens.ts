/**
 * Clients that prove who they are by JSON Web Tokens.
 *
 * @since 1.0.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { JOSEError, JWSSignatureVerificationFailed, JWTClaimValidationFailed, JWTExpired } from "jose/errors"
import { jwtVerify } from "jose/jwt/verify"
import { type Disconnect, InvalidOption } from "../core/HubError.js"
import { Authenticator, type Credentials, type Grant } from "./Authenticator.js"
import { disconnects, errors, internalError, type ProtocolError } from "./ProtocolCode.js"
import { ConnectionClaims, type granted, SubscriptionClaims } from "./TokenClaims.js"
import * as TokenKeys from "./TokenKeys.js"
import { unknownKeys } from "./UnknownKeys.js"

/**
 * Which tokens are good.
 *
 * @since 1.0.0
 * @category models
 */
export interface TokensOptions extends TokenKeys.KeyOptions {
  /** What a token's `aud` must be or have. Absent: it is not looked at. */
  readonly audience?: string | undefined
  /** What a token's `iss` must be. Absent: it is not looked at. */
  readonly issuer?: string | undefined
  /** How far clocks may differ: `exp` is put off by it, `nbf` brought forward. Defaults to 0 seconds. */
  readonly leeway?: Duration.DurationInput | undefined
  /** Whether a client may connect without a token, as the user "". Defaults to `false`. */
  readonly allowAnonymous?: boolean | undefined
  /** For development: as `allowAnonymous`, with a warning in the log. A token that is there is checked all the same. */
  readonly insecure?: boolean | undefined
}

/** Why a token is no good. `reason` is for the log: it holds nothing of the token. */
class Refused extends Data.TaggedError("Refused")<{ readonly expired: boolean; readonly reason: string }> {}

const invalid = (reason: string) => new Refused({ expired: false, reason })

const refusal = (error: unknown): Refused | ProtocolError => {
  if (error instanceof TokenKeys.KeysUnavailable) return internalError(error)
  const early = error instanceof JWTClaimValidationFailed && error.claim === "nbf" && error.reason === "check_failed"
  return early || error instanceof JWTExpired
    ? new Refused({ expired: true, reason: early ? "not valid yet" : "expired" })
    : invalid(error instanceof JOSEError ? error.code : "a key that does not fit")
}

const decodeEmbedded = Schema.decode(Schema.compose(Schema.StringFromBase64, Schema.parseJson()))

/** JSON in base64 wins over plain JSON. */
const json = (base64: string | undefined, plain: unknown): Effect.Effect<unknown, Refused> =>
  base64 === undefined || base64 === ""
    ? Effect.succeed(plain ?? undefined)
    : Effect.mapError(decodeEmbedded(base64), () => invalid("no JSON in base64"))

const grant = (
  claims: Schema.Schema.Type<Schema.Struct<typeof granted>>,
  expireAt?: number
): Effect.Effect<Grant, Refused> =>
  Effect.map(
    Effect.all([json(claims.b64info, claims.info), json(claims.b64data, claims.data)]),
    ([info, data]) => ({ info, data, expireAt, override: claims.override })
  )

const nobody: Credentials = { user: "", clientRefresh: false, subscriptions: new Map() }

const known: Readonly<Record<keyof TokensOptions, true>> = {
  hmacSecret: true,
  rsaPublicKey: true,
  ecdsaPublicKey: true,
  ed25519PublicKey: true,
  jwksUrl: true,
  jwksMaxAge: true,
  jwksCooldown: true,
  audience: true,
  issuer: true,
  leeway: true,
  allowAnonymous: true,
  insecure: true
}

const check = (options: TokensOptions): ReadonlyArray<InvalidOption> => {
  const keys = ["hmacSecret", "rsaPublicKey", "ecdsaPublicKey", "ed25519PublicKey", "jwksUrl"] as const
  const hasKeys = keys.some((key) => options[key] !== undefined)
  const nobody = !hasKeys && options.allowAnonymous !== true && options.insecure !== true
  const expected =
    "this, rsaPublicKey, ecdsaPublicKey, ed25519PublicKey, jwksUrl or allowAnonymous, or nobody can connect"
  return [
    ...unknownKeys("", options, Object.keys(known)),
    ...(nobody ? [new InvalidOption({ key: "hmacSecret", expected, actual: undefined })] : []),
    ...(["audience", "issuer"] as const).flatMap((key) => {
      const actual = options[key]
      if (actual === undefined || (actual !== "" && hasKeys)) return []
      return [
        new InvalidOption({ key, expected: actual === "" ? "text" : "a key too, since no token is accepted", actual })
      ]
    })
  ]
}

/** The keys, and the leeway in seconds. */
const read = (options: TokensOptions) =>
  Effect.gen(function*() {
    const found = check(options)
    if (Arr.isNonEmptyReadonlyArray(found)) return yield* Effect.fail(found)
    const leeway = yield* Effect.mapError(TokenKeys.millis("leeway", options.leeway, 0), Arr.of)
    return { ...(yield* TokenKeys.make(options)), leeway: leeway / 1000 }
  })

/**
 * All that is wrong with the options: what `make` would refuse.
 *
 * @internal
 */
export const problems = (options: TokensOptions): Effect.Effect<ReadonlyArray<InvalidOption>> =>
  Effect.match(Effect.scoped(read(options)), { onFailure: (found) => found, onSuccess: () => [] })

/**
 * Checks the options and imports the keys. Of expired tokens a connection gets error 109, and its refresh a disconnect
 * with 3005; the code of a bad one is 3500, for subscriptions error 103.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (
  options: TokensOptions
): Effect.Effect<Authenticator["Type"], InvalidOption, Scope.Scope> =>
  Effect.gen(function*() {
    const { algorithms, keyOf, leeway, renew } = yield* Effect.mapError(read(options), Arr.headNonEmpty)
    if (options.insecure === true) {
      yield* Effect.logWarning("Clients need no token. This is for development only.")
    }
    if (options.hmacSecret !== undefined && Redacted.value(options.hmacSecret).length < 32) {
      yield* Effect.logWarning("hmacSecret is shorter than 32 characters: it can be guessed from any token.")
    }

    const verify = (token: string): Effect.Effect<unknown, Refused | ProtocolError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.tryPromise({
          try: async () => {
            const verified = () =>
              jwtVerify(token, keyOf, {
                algorithms: [...algorithms],
                currentDate: new Date(now),
                clockTolerance: leeway,
                ...(options.audience === undefined ? {} : { audience: options.audience }),
                ...(options.issuer === undefined ? {} : { issuer: options.issuer })
              })
            try {
              return await verified()
            } catch (error) {
              if (error instanceof JWSSignatureVerificationFailed && await renew(token)) return verified()
              throw error
            }
          },
          catch: refusal
        })).pipe(Effect.map(({ payload }) => payload))

    const claimsOf = <A, I>(schema: Schema.Schema<A, I>) => {
      const decode = Schema.decodeUnknown(schema)
      return (token: string) =>
        Effect.flatMap(verify(token), (payload) => Effect.mapError(decode(payload), () => invalid("claims")))
    }
    const connectionClaims = claimsOf(ConnectionClaims)
    const subscriptionClaims = claimsOf(SubscriptionClaims)

    /** The leeway counts here too: a token that is accepted in it must not be an expired connection. */
    const expiry = (claims: { readonly exp?: number | undefined; readonly expire_at?: number | undefined }) =>
      claims.expire_at !== undefined
        ? Math.ceil(claims.expire_at) || undefined
        : claims.exp === undefined
        ? undefined
        : Math.ceil(claims.exp + leeway)

    const credentials = (token: string): Effect.Effect<Credentials, Refused | ProtocolError> =>
      Effect.gen(function*() {
        const claims = yield* connectionClaims(token)
        const subs = claims.subs === undefined || claims.subs.length === 0
          ? (claims.channels ?? []).map((channel) => [channel, {}] as const)
          : claims.subs
        return {
          user: claims.sub ?? "",
          info: yield* json(claims.b64info, claims.info),
          meta: claims.meta ?? undefined,
          expireAt: expiry(claims),
          clientRefresh: true,
          subscriptions: new Map(
            yield* Effect.forEach(
              subs,
              ([channel, found]) => Effect.map(grant(found), (granted) => [channel, granted] as const)
            )
          )
        }
      })

    const refuse = <B extends ProtocolError | Disconnect, E extends ProtocolError | Disconnect>(
      expired: B,
      bad: E
    ) =>
    <A>(effect: Effect.Effect<A, Refused | ProtocolError>) =>
      Effect.catchTag(effect, "Refused", (refused) =>
        Effect.zipRight(
          Effect.annotateLogs(Effect.logDebug("A token was refused"), {
            package: "effect-ws-hub",
            reason: refused.reason
          }),
          Effect.fail<B | E>(refused.expired ? expired : bad)
        ))

    return Authenticator.of({
      connect: ({ token }) =>
        token !== ""
          ? refuse(errors.tokenExpired, disconnects.invalidToken)(credentials(token))
          : options.allowAnonymous === true || options.insecure === true
          ? Effect.succeed(nobody)
          : Effect.fail(disconnects.badRequest),
      refresh: (token, user) =>
        token === "" ? Effect.fail(disconnects.badRequest) : credentials(token).pipe(
          refuse(disconnects.expired, disconnects.invalidToken),
          Effect.filterOrFail((found) => found.user === user, () => disconnects.invalidToken)
        ),
      subscribe: (token, request) =>
        Effect.gen(function*() {
          const claims = yield* subscriptionClaims(token)
          const matches = claims.channel === request.channel && (claims.sub ?? "") === request.user &&
            (claims.client === undefined || claims.client === "" || claims.client === request.client)
          return matches ? yield* grant(claims, expiry(claims)) : undefined
        }).pipe(
          refuse(errors.tokenExpired, errors.permissionDenied),
          Effect.filterOrFail(Predicate.isNotUndefined, () => disconnects.invalidToken)
        )
    })
  })

/**
 * Tokens as the options say. A warning is logged for what is not safe.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options: TokensOptions): Layer.Layer<Authenticator, InvalidOption> =>
  Layer.scoped(Authenticator, make(options))

/**
 * Everybody may connect, as the user "", and nobody has tokens.
 *
 * @since 1.0.0
 * @category layers
 */
export const layerAnonymous: Layer.Layer<Authenticator> = Layer.orDie(layer({ allowAnonymous: true }))
